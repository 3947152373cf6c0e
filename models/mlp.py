"""Mean of the word vectors, a hidden stack, logits."""

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
    Dropout falls on the mean and on every hidden layer.
    """

    def __init__(
        self,
        config: MLPConfig,
        vectors: NDArray[np.float32] | Tensor | None = None,
        stem_ids: Tensor | None = None,
    ) -> None:
        super().__init__(config, vectors, stem_ids)
        self.takes_pooled = config.freeze_embeddings
        self.masks = DropoutMasks(config.dropout)
        self.stack = HiddenStack(
            config.embedding_dim,
            config.hidden_sizes,
            num_classes=config.num_classes,
            dropout=config.dropout,
        )

    def features(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        words, token_ids = unique_words(token_ids)
        return mean_of_rows(self.rows(words), token_ids, offsets)

    def train_features(
        self, rows: Tensor, token_ids: Tensor, offsets: Tensor, *, weights: DenseWeights
    ) -> tuple[Tensor, Backward]:
        means, backward = train_mean_of_rows(rows, token_ids, offsets)
        features, mask = self._drop(means.to(weights.dtype))
        return features, lambda gradient: backward(mask.multiply(gradient))

    def train_pooled(self, pooled: Tensor, *, weights: DenseWeights) -> Tensor:
        return self._drop(pooled.to(weights.dtype))[0]

    def _drop(self, means: Tensor) -> tuple[Tensor, Mask]:
        (mask,) = self.masks.draw(means, [means.shape[1]])
        return mask.multiply(means), mask

    def dropout_masks(self) -> list[DropoutMasks]:
        return [self.masks, self.stack.masks]
