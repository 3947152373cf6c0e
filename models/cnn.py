"""Filters of several lengths over the word vectors, global max pooling, a hidden stack, logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.base import TitleClassifier
from models.layers import PAD_ID, HiddenStack


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
        self.dropout = nn.Dropout(config.dropout)
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
        table = self.embedding if table is None else table
        if not padded:
            token_ids, offsets = pad_titles(token_ids, offsets, self.min_length)
        features = torch.cat(
            [
                self._pool(filters, token_ids, offsets, table=table, length=length)
                for filters, length in zip(self.filters, self.filter_lengths, strict=True)
            ],
            dim=1,
        )
        return self.stack(self.dropout(torch.relu(features)))

    def _pool(
        self, filters: nn.Module, token_ids: Tensor, offsets: Tensor, *, table: Tensor, length: int
    ) -> Tensor:
        """The greatest answer of each filter over the windows of each title: (B, F)."""
        starts, window_offsets = windows(token_ids, offsets, length)
        ids = token_ids.unfold(0, length, 1).index_select(0, starts)  # (W, length)
        vectors = functional.embedding(ids, table, padding_idx=PAD_ID)
        answers = filters(vectors.view(len(ids), -1))  # (W, F)
        return functional.embedding_bag(
            torch.arange(len(ids), device=ids.device),
            answers,
            window_offsets,
            mode="max",
            include_last_offset=True,
        )


def windows(token_ids: Tensor, offsets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Where the windows of ``length`` positions start, title after title.

    Every title must have at least ``length`` positions. Returns starts (W,) and the offsets
    (B + 1,) of the titles in it. Sizes follow from shapes alone: no wait for a GPU.
    """
    num_titles = len(offsets) - 1
    num_windows = len(token_ids) - num_titles * (length - 1)
    titles = torch.arange(num_titles + 1, device=offsets.device)
    window_offsets = offsets - (length - 1) * titles
    title_of_window = torch.repeat_interleave(
        titles[:-1], window_offsets[1:] - window_offsets[:-1], output_size=num_windows
    )
    starts = torch.arange(num_windows, device=offsets.device) + (length - 1) * title_of_window
    return starts, window_offsets


def pad_titles(token_ids: Tensor, offsets: Tensor, min_length: int) -> tuple[Tensor, Tensor]:
    """The titles with padding ids at the end of those shorter than ``min_length``.

    >>> pad_titles(torch.tensor([7, 8, 9]), torch.tensor([0, 1, 3]), 2)
    (tensor([7, 0, 8, 9]), tensor([0, 2, 4]))
    """
    lengths = offsets[1:] - offsets[:-1]
    padded_offsets = torch.zeros_like(offsets)
    torch.cumsum(lengths.clamp(min=min_length), 0, out=padded_offsets[1:])
    padded = token_ids.new_full((int(padded_offsets[-1]),), PAD_ID)
    shifts = torch.repeat_interleave(
        padded_offsets[:-1] - offsets[:-1], lengths, output_size=len(token_ids)
    )
    padded[torch.arange(len(token_ids), device=shifts.device) + shifts] = token_ids
    return padded, padded_offsets
