"""Filters of several lengths over the word vectors, global max pooling, a hidden stack, logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.base import TitleClassifier
from models.examples import pad_titles
from models.functions import GatherWindows, MaxOverWindows
from models.layers import DropoutMasks, HiddenStack, unique_words


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

    Which windows count: a title of n tokens is padded at its end with zero vectors to
    ``max(n, longest filter)``, and a filter of length k sees each of the windows of k
    positions inside that. So the windows of a title depend on the title alone, never on the
    batch, and an empty title is one stretch of zeros.

    The filters are applied as one matrix product per length over the windows that exist
    (width k * E), not as a convolution over a padded batch.
    """

    def __init__(
        self, config: CNNConfig, vectors: NDArray[np.float32] | Tensor | None = None
    ) -> None:
        super().__init__(config, vectors)
        self.min_length = max(config.filter_lengths)
        self.filters = nn.ModuleList(
            nn.Linear(length * config.embedding_dim, config.num_filters)
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

    def forward(
        self,
        token_ids: Tensor,
        offsets: Tensor,
        *,
        table: Tensor | None = None,
        padded: bool = False,
    ) -> Tensor:
        if not padded:
            token_ids, offsets = pad_titles(token_ids, offsets, self.min_length)
        if table is None:
            words, token_ids = unique_words(token_ids)
            table = self.embedding.index_select(0, words)
        places = [windows(token_ids, offsets, length) for length in self.filter_lengths]
        dtype = self.train_dtype if self.training else torch.float32
        vectors = GatherWindows.apply(table, dtype, *[ids for ids, _ in places])
        features = torch.cat(
            [
                self._pool(filters, window_vectors, titles, num_titles=len(offsets) - 1)
                for filters, window_vectors, (_, titles) in zip(
                    self.filters, vectors, places, strict=True
                )
            ],
            dim=1,
        ).relu()
        if self.training:
            for mask in self.masks.draw(features, [features.shape[1]]):
                features = features * mask
        return self.stack(features)

    def dropout_masks(self) -> list[DropoutMasks]:
        return [self.masks, self.stack.masks]

    def _pool(
        self, filters: nn.Module, vectors: Tensor, titles: Tensor, *, num_titles: int
    ) -> Tensor:
        """The greatest answer of each filter over the windows of each title: (B, F)."""
        weight, bias = filters.get_parameter("weight"), filters.get_parameter("bias")
        answers = functional.linear(vectors, weight.to(vectors.dtype))  # (W, F)
        best = MaxOverWindows.apply(answers, titles, num_titles)
        # The bias is the same for all windows: it can wait until one value is left.
        return best + bias.to(best.dtype)


def windows(token_ids: Tensor, offsets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The ids in each window of ``length`` positions (W, length), and its title (W,).

    Every title must have at least ``length`` positions. Sizes follow from shapes alone, so
    nothing waits for a GPU.
    """
    num_titles = len(offsets) - 1
    num_windows = len(token_ids) - num_titles * (length - 1)
    titles = torch.repeat_interleave(
        torch.arange(num_titles, device=offsets.device),
        offsets[1:] - offsets[:-1] - (length - 1),
        output_size=num_windows,
    )
    starts = torch.arange(num_windows, device=offsets.device) + (length - 1) * titles
    return token_ids.unfold(0, length, 1).index_select(0, starts), titles
