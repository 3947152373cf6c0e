"""Mean of the word vectors, a hidden stack, logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.base import TitleClassifier
from models.layers import DropoutMasks, HiddenStack


@dataclass(frozen=True)
class MLPConfig:
    """Everything that defines an MLP, but its weights."""

    vocabulary_size: int
    embedding_dim: int
    num_classes: int
    hidden_sizes: tuple[int, ...] = (256,)
    dropout: float = 0.3
    freeze_embeddings: bool = False


class MLP(TitleClassifier):
    """``stack(mean(embedding[tokens]))``, the deep averaging network of Iyyer et al. (2015).

    The mean runs over the real tokens of the title alone; the mean of an empty title is zero.
    """

    def __init__(
        self, config: MLPConfig, vectors: NDArray[np.float32] | Tensor | None = None
    ) -> None:
        super().__init__(config, vectors)
        self.takes_pooled = config.freeze_embeddings
        self.stack = HiddenStack(
            config.embedding_dim,
            config.hidden_sizes,
            num_classes=config.num_classes,
            dropout=config.dropout,
        )

    def forward(
        self,
        token_ids: Tensor,
        offsets: Tensor,
        *,
        table: Tensor | None = None,
        padded: bool = False,
    ) -> Tensor:
        table = self.embedding if table is None else table
        pooled = functional.embedding_bag(
            token_ids, table, offsets.to(token_ids.dtype), mode="mean", include_last_offset=True
        )
        return self.forward_pooled(pooled)

    def forward_pooled(self, pooled: Tensor) -> Tensor:
        return self.stack(pooled.to(self.train_dtype) if self.training else pooled)

    def dropout_masks(self) -> list[DropoutMasks]:
        return [self.stack.masks]
