"""The word vectors of a title pooled into one, a hidden stack, logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.base import TitleClassifier
from models.dropout import DropoutMasks, Mask
from models.examples import unique_words
from models.functions import Backward, mean_of_rows, train_mean_of_rows
from models.layers import HiddenStack
from models.weights import DenseWeights

POOLINGS = ("mean", "sqrtn")


@dataclass(frozen=True)
class MLPConfig:
    """Everything that defines an MLP, but its weights. ``pooling``: see ``MLP``."""

    vocabulary_size: int
    embedding_dim: int
    num_classes: int
    hidden_sizes: tuple[int, ...] = (256,)
    dropout: float = 0.3
    freeze_embeddings: bool = False
    pooling: str = "mean"


class MLP(TitleClassifier):
    """``stack(pool(embedding[tokens]))``, the deep averaging network of Iyyer et al. (2015).

    The pool runs over the real tokens of the title alone; that of an empty title is zero. Of n
    vectors, ``"mean"`` divides the sum by n and ``"sqrtn"`` by the root of n, the name that
    TensorFlow gave it: the mean of many vectors is short, as they point in many directions, and
    what decides on a long title weighs little in it.
    Dropout falls on the pooled vector and on every hidden layer.
    """

    def __init__(
        self,
        config: MLPConfig,
        vectors: NDArray[np.float32] | Tensor | None = None,
        stem_ids: Tensor | None = None,
    ) -> None:
        if config.pooling not in POOLINGS:
            raise ValueError(f"the pooling is {config.pooling!r}, not one of {POOLINGS}")
        super().__init__(config, vectors, stem_ids)
        self.takes_pooled = config.freeze_embeddings
        self._by_root = config.pooling == "sqrtn"
        self.masks = DropoutMasks(config.dropout)
        self.stack = HiddenStack(
            config.embedding_dim,
            config.hidden_sizes,
            num_classes=config.num_classes,
            dropout=config.dropout,
        )

    def features(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        words, token_ids = unique_words(token_ids)
        means = mean_of_rows(self.rows(words), token_ids, offsets)
        return self._scaled(means, offsets[1:] - offsets[:-1])

    def train_features(
        self, rows: Tensor, token_ids: Tensor, offsets: Tensor, *, weights: DenseWeights
    ) -> tuple[Tensor, Backward]:
        means, backward = train_mean_of_rows(rows, token_ids, offsets)
        lengths = offsets[1:] - offsets[:-1]
        features, mask = self._drop(self._scaled(means, lengths).to(weights.dtype))
        return features, lambda gradient: backward(self._scaled(mask.multiply(gradient), lengths))

    def train_pooled(self, pooled: Tensor, lengths: Tensor, *, weights: DenseWeights) -> Tensor:
        return self._drop(self._scaled(pooled, lengths).to(weights.dtype))[0]

    def forward_pooled(self, pooled: Tensor, lengths: Tensor) -> Tensor:
        return self.stack(self._scaled(pooled, lengths))

    def _scaled(self, means: Tensor, lengths: Tensor) -> Tensor:
        """From the means (B, E) of ``lengths`` (B,) vectors to what is asked for; and so are the
        gradients."""
        return means * lengths.sqrt()[:, None] if self._by_root else means

    def _drop(self, pooled: Tensor) -> tuple[Tensor, Mask]:
        (mask,) = self.masks.draw(pooled, [pooled.shape[1]])
        return mask.multiply(pooled), mask

    def dropout_masks(self) -> list[DropoutMasks]:
        return [self.masks, self.stack.masks]
