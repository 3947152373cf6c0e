"""The contract of the networks.

Dimensions: T tokens of a batch together, B titles, V words in the vocabulary, E embedding
width, K classes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.layers import DropoutMasks, embedding_table


class ModelConfig(Protocol):
    """What the training loop and the builder read of every model's frozen config."""

    @property
    def vocabulary_size(self) -> int: ...
    @property
    def embedding_dim(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def freeze_embeddings(self) -> bool: ...


class TitleClassifier(nn.Module):
    """Flat titles in, raw logits out.

    A title scores the same alone and in any batch (up to rounding), the padding is never read,
    and an empty title has a score too.

    The embedding is no trained parameter of autograd: the training loop reads the rows of a
    batch, trains those alone and writes them back (see ``models.optimizer.LazyRows``). Frozen,
    it is a shared constant and no part of ``state_dict()``: a frozen model is rebuilt from
    config, vectors and state.
    """

    #: Titles are padded with zero vectors to this length (0: no padding at all).
    min_length: int = 0
    #: Whether it can start from pooled features, by ``forward_pooled``.
    takes_pooled: bool = False
    embedding: Tensor  # (V, E) float32
    #: The type of the matrix products in training; evaluation is always in float32.
    train_dtype: torch.dtype = torch.float32

    def __init__(
        self, config: ModelConfig, vectors: NDArray[np.float32] | Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        table = embedding_table(
            vectors,
            vocabulary_size=config.vocabulary_size,
            embedding_dim=config.embedding_dim,
            copy=not config.freeze_embeddings,
        )
        self.register_buffer("embedding", table, persistent=not config.freeze_embeddings)

    def forward(
        self,
        token_ids: Tensor,
        offsets: Tensor,
        *,
        table: Tensor | None = None,
        padded: bool = False,
    ) -> Tensor:
        """Logits (B, K) of the titles ``token_ids`` (T,), ``offsets`` (B + 1,).

        ``table`` (U, E), if given, is what the ids index, in place of the whole embedding; its
        row 0 must be the zero padding. ``padded`` says that every title already has
        ``min_length`` tokens.
        """
        raise NotImplementedError

    def seed_dropout(self, seed: int) -> None:
        """Define all dropout to come; independent of PyTorch's global generator."""
        for number, masks in enumerate(self.dropout_masks()):
            masks.seed(seed + number)

    def dropout_masks(self) -> list[DropoutMasks]:
        """Where this network draws its dropout from."""
        raise NotImplementedError

    def forward_pooled(self, pooled: Tensor) -> Tensor:
        """Logits (B, K) of titles whose mean word vectors ``pooled`` (B, E) are known already."""
        raise NotImplementedError
