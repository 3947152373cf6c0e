"""Titles filled up to a least length, computed once: what a CNN's filters slide over."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import ArrayWriter, load_array
from data_utils.cache import build_once
from data_utils.prepared import PreparedData, Titles
from data_utils.vocabulary import PAD_ID

_FORMAT = 1
_CHUNK_TITLES = 1 << 18

TokenArrays = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Token ids (T,) and offsets (N + 1,), as in ``Titles``."""


def padded_titles(
    prepared: PreparedData, *, split: str, min_length: int, cache_dir: Path
) -> TokenArrays:
    """The titles of a split, those shorter than ``min_length`` with padding ids at their end.

    Memory-mapped: if no title is too short, the prepared arrays themselves, else arrays that the
    first process that asks builds in ``cache_dir``, verified on opening.

    Raises DataError when the cache cannot be written.
    """
    titles: Titles = getattr(prepared, split)
    if all(lengths.min() >= min_length for _, lengths in _chunks(titles)):
        return titles.token_ids, titles.offsets
    key = f"{_FORMAT} {prepared.fingerprint} {split} {min_length}"
    folder = cache_dir / "padded" / hashlib.sha256(key.encode()).hexdigest()[:32]
    built = build_once(folder, lambda partial: _write(partial, titles, min_length))
    return load_array(built / "token_ids.npy"), load_array(built / "offsets.npy")


def _write(folder: Path, titles: Titles, min_length: int) -> None:
    end = 0
    with (
        ArrayWriter(folder / "token_ids.npy", np.int32) as all_ids,
        ArrayWriter(folder / "offsets.npy", np.int64) as all_offsets,
    ):
        all_offsets.append(np.zeros(1, np.int64))
        for start, lengths in _chunks(titles):
            ends = np.cumsum(np.maximum(lengths, min_length))
            token_ids = np.full(ends[-1], PAD_ID, dtype=np.int32)
            first, last = titles.offsets[start], titles.offsets[start + len(lengths)]
            # Each token moves by what was put before its title.
            starts = ends - np.maximum(lengths, min_length)
            shifts = np.repeat(starts - titles.offsets[start : start + len(lengths)], lengths)
            token_ids[np.arange(first, last) + shifts] = titles.token_ids[first:last]
            all_ids.append(token_ids)
            all_offsets.append(end + ends)
            end += int(ends[-1])


def _chunks(titles: Titles) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Some titles at a time: the first one's number, and the tokens (n,) of each."""
    for start in range(0, len(titles), _CHUNK_TITLES):
        yield start, np.diff(titles.offsets[start : start + _CHUNK_TITLES + 1])
