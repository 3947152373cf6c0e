"""Filters of several lengths over the word vectors, global max pooling, a hidden stack, logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.base import TitleClassifier
from models.dropout import DropoutMasks, relu_dropout, relu_dropout_backward
from models.examples import pad_titles, unique_words
from models.filters import greatest_answers, train_greatest_answers
from models.functions import Backward
from models.layers import HiddenStack, linear_layer
from models.weights import DenseWeights


@dataclass(frozen=True)
class CNNConfig:
    """Everything that defines a CNN, but its weights."""

    vocabulary_size: int
    embedding_dim: int
    num_classes: int
    num_filters: int = 100
    filter_lengths: tuple[int, ...] = (2, 3, 4)
    hidden_sizes: tuple[int, ...] = (256,)
    dropout: float = 0.3
    freeze_embeddings: bool = False


class CNN(TitleClassifier):
    """``stack(relu(max over windows of filters(window)))`` after Kim (2014).

    Which windows count: a filter of length k sees the windows of k positions inside the title
    padded at its end with zero vectors to max(n, k), n being its number of tokens. So a title
    of n >= k tokens has n - k + 1 windows of words alone, a shorter one has the one window that
    starts with its first token, and an empty one a window of zeros. The windows of a title
    depend on the title alone, never on the batch or on the other filters.

    The filters are applied to the windows that exist (``models.filters``), not as a convolution
    over a padded batch.
    """

    def __init__(
        self,
        config: CNNConfig,
        vectors: NDArray[np.float32] | Tensor | None = None,
        stem_ids: Tensor | None = None,
    ) -> None:
        super().__init__(config, vectors, stem_ids)
        self.min_length = max(config.filter_lengths)
        self.filters = nn.ModuleList(
            linear_layer(length * config.embedding_dim, config.num_filters)
            for length in config.filter_lengths
        )
        self.masks = DropoutMasks(config.dropout)
        self.stack = HiddenStack(
            config.num_filters * len(config.filter_lengths),
            config.hidden_sizes,
            num_classes=config.num_classes,
            dropout=config.dropout,
        )
        self.filter_lengths = config.filter_lengths

    def features(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        token_ids, offsets = pad_titles(token_ids, offsets, self.min_length)
        words, token_ids = unique_words(token_ids)
        rows = self.rows(words)
        pooled = [
            greatest_answers(layer, rows, token_ids, offsets, length)
            for layer, length in zip(self.filters, self.filter_lengths, strict=True)
        ]
        return torch.cat(pooled, dim=1).relu_()

    def train_features(
        self, rows: Tensor, token_ids: Tensor, offsets: Tensor, *, weights: DenseWeights
    ) -> tuple[Tensor, Backward]:
        rows = rows.to(weights.dtype)
        layers = [weights.of(layer) for layer in self.filters]
        frozen = self.config.freeze_embeddings
        best, to_rows = zip(
            *(
                train_greatest_answers(layer, rows, token_ids, offsets, length, frozen=frozen)
                for layer, length in zip(layers, self.filter_lengths, strict=True)
            ),
            strict=True,
        )
        # The greatest plus the bias is the greatest of those plus the bias, and less work.
        bias = torch.cat([layer.bias for layer in layers])
        features = torch.cat(best, dim=1)
        (mask,) = self.masks.draw(features, [features.shape[1]])
        relu_dropout(features, bias, mask)

        def backward(gradient: Tensor) -> Tensor:
            relu_dropout_backward(gradient, features, mask, bias)
            for layer, bias_gradient in zip(layers, bias.chunk(len(layers)), strict=True):
                layer.bias_gradient.copy_(bias_gradient)
            parts = gradient.chunk(len(layers), dim=1)
            found = [
                part_to_rows(part.contiguous())
                for part_to_rows, part in zip(to_rows, parts, strict=True)
            ]
            return gradient if frozen else sum(found[1:], start=found[0])

        return features, backward

    def dropout_masks(self) -> list[DropoutMasks]:
        return [self.masks, self.stack.masks]
