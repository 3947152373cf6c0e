"""Examples of one split as tensors on one device, and the cutting of batches out of them.

Titles are one flat array of token ids with offsets: title ``i`` has the tokens
``token_ids[offsets[i]:offsets[i + 1]]``. There is no padding, no Python loop over titles, and
no data loader: a batch is a vectorised gather.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.compiled import kernels_for

PAD_ID = 0  # row 0 of every embedding: always zeros, never trained


@dataclass(frozen=True)
class Batch:
    """Some examples, cut out in the order asked for.

    ``token_ids`` (T,) int32, ``offsets`` (B + 1,) int64, ``labels`` (B,) int64,
    ``pooled`` (B, E) float32 or None.
    """

    token_ids: Tensor
    offsets: Tensor
    labels: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each title (B,) int64."""
        return self.offsets[1:] - self.offsets[:-1]


@dataclass(frozen=True, eq=False)
class Examples:
    """One split: ``token_ids`` (T,) int32, ``offsets`` (N + 1,) int64, ``labels`` (N,) int64.

    ``pooled`` (N, E) float32 holds the mean of each title's word vectors, computed elsewhere;
    an MLP over frozen embeddings reads it in place of the tokens. The tensors may be views of
    memory-mapped files: they are only read.
    """

    token_ids: Tensor
    offsets: Tensor
    labels: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return self.labels.shape[0]

    @cached_property
    def lengths(self) -> Tensor:
        """Tokens of each title (N,) int64."""
        return self.offsets[1:] - self.offsets[:-1]

    @cached_property
    def host_lengths(self) -> Tensor:
        """``lengths`` on the CPU: sizes of batches without a device sync."""
        return self.lengths.cpu()

    def to(self, device: torch.device | str) -> Examples:
        """The same examples on ``device``."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Examples(
            self.token_ids.to(device), self.offsets.to(device), self.labels.to(device), pooled
        )

    def padded(self, min_length: int) -> Examples:
        """The same titles, those shorter than ``min_length`` filled up with padding ids."""
        if min_length == 0 or int(self.host_lengths.min()) >= min_length:
            return self
        token_ids, offsets = pad_titles(self.token_ids, self.offsets, min_length)
        return Examples(token_ids, offsets, self.labels, self.pooled)

    def gather(self, indices: Tensor, *, num_tokens: int | None = None) -> Batch:
        """The examples ``indices`` (B,) int64, in that order.

        ``num_tokens``, if known, is the number of their tokens together; otherwise it is
        counted, which on a GPU waits for the device.
        """
        if kernels := kernels_for(self.token_ids):
            arrays = self.token_ids, self.offsets, indices
            token_ids, offsets = map(
                torch.from_numpy, kernels.cut(*(array.numpy() for array in arrays))
            )
            return Batch(token_ids, offsets, self.labels.index_select(0, indices))
        starts = self.offsets[indices]
        lengths = self.offsets[indices + 1] - starts
        offsets = torch.zeros(len(indices) + 1, dtype=torch.int64, device=lengths.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        if num_tokens is None:
            num_tokens = int(offsets[-1])
        shifts = torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=num_tokens)
        positions = torch.arange(num_tokens, device=shifts.device) + shifts
        return Batch(
            token_ids=self.token_ids.index_select(0, positions),
            offsets=offsets,
            labels=self.labels.index_select(0, indices),
        )

    def slice(self, start: int, stop: int) -> Batch:
        """The examples ``start`` to ``stop`` (exclusive) in their own order."""
        offsets = self.offsets[start : stop + 1]
        first, last = self._host_offset(start), self._host_offset(stop)
        return Batch(
            token_ids=self.token_ids[first:last],
            offsets=offsets - first,
            labels=self.labels[start:stop],
            pooled=None if self.pooled is None else self.pooled[start:stop],
        )

    @cached_property
    def _host_offsets(self) -> Tensor:
        return self.offsets.cpu()

    def _host_offset(self, index: int) -> int:
        return int(self._host_offsets[index])


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


def unique_words(token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The different words among ``token_ids`` (T,), and each token's position among them.

    The padding is always the first word. On a GPU the number of words is not waited for: the
    list has T + 1 entries, the unused ones at its end being the padding again.
    """
    padded = torch.cat([token_ids.new_full((1,), PAD_ID), token_ids])
    if token_ids.device.type == "cpu":
        words, positions = torch.unique(padded, return_inverse=True)
        return words.long(), positions[1:]
    return _unique_words_of_fixed_size(padded)


def _unique_words_of_fixed_size(padded: Tensor) -> tuple[Tensor, Tensor]:
    values, order = torch.sort(padded.long())
    groups = torch.zeros_like(values)
    torch.cumsum(values[1:] != values[:-1], 0, out=groups[1:])
    positions = torch.empty_like(order).scatter_(0, order, groups)
    # Entries of one group all write the same value, so their order does not matter.
    words = torch.zeros_like(values).scatter_(0, groups, values)
    return words, positions[1:]
