"""The contract of the networks.

Dimensions: T tokens of a batch together, B titles, V words in the vocabulary, U different
words in a batch, E embedding width, F features, K classes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dropout import DropoutMasks
from models.functions import Backward
from models.layers import HiddenStack, embedding_table
from models.weights import DenseWeights


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
    and an empty title has a score too. ``forward`` is for evaluation: dropout is off, always.
    Training calls ``train_forward``, which gives the logits and a backward pass.

    The embedding is a buffer: the training loop reads the rows of a batch, trains those alone
    and writes them back (``models.optimizer.LazyRows``). With ``stem_ids`` (V,), the vector of a
    word is its own row plus that of its stem (0: none), as forms of one word have much in common
    and a rare form is seen too seldom to learn it alone: the composition of fastText (Bojanowski
    et al. 2017) with stems in the place of character n-grams. Frozen, it is a shared constant
    and no part of ``state_dict()``: a frozen model is rebuilt from config, vectors and state.
    """

    #: Titles are padded with zero vectors to this length (0: no padding at all).
    min_length: int = 0
    #: Whether it can start from pooled features, as frozen embeddings allow an MLP.
    takes_pooled: bool = False
    embedding: Tensor  # (V, E) float32
    stem_ids: Tensor | None  # (V,) int64
    stack: HiddenStack

    def __init__(
        self,
        config: ModelConfig,
        vectors: NDArray[np.float32] | Tensor | None = None,
        stem_ids: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        table = embedding_table(
            vectors,
            vocabulary_size=config.vocabulary_size,
            embedding_dim=config.embedding_dim,
            copy=not config.freeze_embeddings,
        )
        if config.freeze_embeddings:
            stem_ids = None  # a constant sum is a constant: the vectors as they are
        if stem_ids is not None:
            # What a word starts with besides its stem: the two together are its vector.
            words = torch.nonzero(stem_ids).squeeze(1)
            table[words] -= table[stem_ids[words]]
        self.register_buffer("embedding", table, persistent=not config.freeze_embeddings)
        self.register_buffer("stem_ids", stem_ids, persistent=False)

    def rows(self, words: Tensor) -> Tensor:
        """The vectors (U, E) of ``words`` (U,), what they share with their stem included."""
        rows = self.embedding.index_select(0, words)
        if self.stem_ids is None:
            return rows
        return rows + self.embedding.index_select(0, self.stem_ids.index_select(0, words))

    def features(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        """What the hidden stack reads of each title: (B, F)."""
        raise NotImplementedError

    def train_features(
        self, rows: Tensor, token_ids: Tensor, offsets: Tensor, *, weights: DenseWeights
    ) -> tuple[Tensor, Backward]:
        """Features with dropout, from the ``rows`` (U, E) that ``token_ids`` are positions in.

        Row 0 is the padding, and every title has at least ``min_length`` positions. The
        features have the type of ``weights``. The backward pass gives the gradient (U, E)
        float32 of the rows; where the embeddings are frozen, what it gives means nothing.
        """
        raise NotImplementedError

    def train_pooled(self, pooled: Tensor, lengths: Tensor, *, weights: DenseWeights) -> Tensor:
        """As ``train_features``, from the mean word vectors ``pooled`` (B, E), which it may
        change, of titles with ``lengths`` (B,) words; for models that take them."""
        raise NotImplementedError

    def dropout_masks(self) -> list[DropoutMasks]:
        """Where this network draws its dropout from."""
        raise NotImplementedError

    def forward(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        """Logits (B, K) of the titles ``token_ids`` (T,), ``offsets`` (B + 1,)."""
        return self.stack(self.features(token_ids, offsets))

    def forward_pooled(self, pooled: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) of titles with ``lengths`` (B,) words, whose mean word vectors ``pooled``
        (B, E) are known already; for models that take them."""
        raise NotImplementedError

    def seed_dropout(self, seed: int) -> None:
        """Define all dropout to come; independent of PyTorch's global generator."""
        for number, masks in enumerate(self.dropout_masks()):
            masks.seed(seed + number)
