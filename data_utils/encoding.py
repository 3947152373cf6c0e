"""A block of rows as arrays: what a process makes of its share of a source."""

import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_utils.cleaning import Cleaning, TitleEncoder
from data_utils.hashing import hash_bytes, mix
from data_utils.parsing import Rows, parse_block
from data_utils.records import Block, Layout


@dataclass(frozen=True)
class Chunk:
    """The usable rows of a block as arrays.

    ``token_ids`` and ``label_ids`` number tokens and labels by their first appearance in all
    chunks of one encoder; ``new_tokens`` and ``new_labels`` continue its lists. ``groups`` are
    equal for titles with the same set of tokens, ``row_hashes`` for equal rows. The counts are
    those of ``Rows`` and ``Block``.
    """

    token_ids: NDArray[np.int32]  # (T,)
    lengths: NDArray[np.int32]  # (N,) tokens of each title
    groups: NDArray[np.uint64]  # (N,)
    label_ids: NDArray[np.int32]  # (N,)
    text: bytes  # UTF-8 of all titles
    text_lengths: NDArray[np.int32]  # (N,) bytes of each title
    row_hashes: NDArray[np.uint64]  # (N,), or (0,) unless asked for
    new_tokens: list[str]
    new_labels: list[str]
    num_read: int
    num_filtered: int
    rejects: dict[str, tuple[int, int]]
    oddities: dict[str, tuple[int, int]]
    is_new: bool


class ChunkEncoder:
    """Encodes block after block; one per process."""

    def __init__(self, cleaning: Cleaning, *, hash_rows: bool) -> None:
        self._cleaning = cleaning
        self._titles = TitleEncoder(cleaning)
        self._hash_rows = hash_rows
        self._token_hashes = array("Q")
        self._label_ids: dict[str, int] = {}

    def encode(self, layout: Layout, block: Block) -> Chunk:
        """Parse, clean and encode a block."""
        rows = parse_block(layout, block)
        num_tokens, num_labels = len(self._titles.tokens), len(self._label_ids)
        token_ids, offsets = self._titles.encode(rows.titles)
        new_tokens = self._titles.tokens[num_tokens:]
        self._token_hashes.extend(hash_bytes(token.encode()) for token in new_tokens)
        labels = self._labels(rows.labels)
        for label in dict.fromkeys(labels):
            self._label_ids.setdefault(label, len(self._label_ids))
        text, text_lengths = _flat_text(rows.titles)
        return Chunk(
            token_ids=token_ids,
            lengths=np.diff(offsets).astype(np.int32),
            groups=self._groups(rows.titles, token_ids, offsets),
            label_ids=np.fromiter(map(self._label_ids.__getitem__, labels), np.int32, len(labels)),
            text=text,
            text_lengths=text_lengths,
            row_hashes=_row_hashes(rows) if self._hash_rows else np.zeros(0, dtype=np.uint64),
            new_tokens=new_tokens,
            new_labels=list(self._label_ids)[num_labels:],
            num_read=rows.num_read,
            num_filtered=rows.num_filtered,
            rejects=rows.rejects,
            oddities=block.oddities,
            is_new=rows.is_new,
        )

    def _labels(self, raw: Sequence[str]) -> list[str]:
        """The names of the categories: one line each, and one spelling of each character."""
        if self._cleaning.version == 1:
            return list(map(str.strip, raw))
        names = {
            label: " ".join(unicodedata.normalize("NFC", label).split())
            for label in dict.fromkeys(raw)
        }
        return [names[label] for label in raw]

    def _groups(
        self, titles: Sequence[str], token_ids: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """Hash the set of tokens of each title; a title without tokens by its text."""
        lengths = np.diff(offsets)
        groups = np.zeros(len(titles), dtype=np.uint64)
        if len(token_ids):
            pairs = np.repeat(np.arange(len(titles), dtype=np.int64) << 32, lengths) | token_ids
            pairs.sort()
            pairs = pairs[np.concatenate(([True], pairs[1:] != pairs[:-1]))]
            hashes = np.frombuffer(self._token_hashes, dtype=np.uint64)[pairs & 0xFFFFFFFF]
            # A sum does not depend on order; sums of a title are differences of running sums.
            sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(hashes)))
            bounds = np.searchsorted(pairs, np.arange(len(titles) + 1, dtype=np.int64) << 32)
            groups = mix(sums[bounds[1:]] - sums[bounds[:-1]])
        for index in np.flatnonzero(lengths == 0).tolist():
            groups[index] = hash_bytes(b"\0" + titles[index].encode("utf-8", "replace"))
        return groups


def _row_hashes(rows: Rows) -> NDArray[np.uint64]:
    pairs = zip(rows.titles, rows.labels, strict=True)
    hashes = (hash_bytes(f"{title}\0{label}".encode("utf-8", "replace")) for title, label in pairs)
    return np.fromiter(hashes, np.uint64, len(rows.titles))


def _flat_text(titles: Sequence[str]) -> tuple[bytes, NDArray[np.int32]]:
    """The titles' UTF-8 in one, and the bytes of each."""
    data = "\n".join(titles).encode("utf-8", "replace")
    breaks = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
    if titles and len(breaks) == len(titles) - 1:
        bounds = np.concatenate(([-1], breaks, [len(data)]))
        return data.replace(b"\n", b""), (np.diff(bounds) - 1).astype(np.int32)
    encoded = [title.encode("utf-8", "replace") for title in titles]  # with line breaks in them
    return b"".join(encoded), np.fromiter(map(len, encoded), np.int32, len(encoded))
