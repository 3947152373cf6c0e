"""All rows of a source, collected from its chunks: flat files on disk, small columns in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from data_utils.encoding import Chunk
from data_utils.errors import DataError
from data_utils.records import JOINED
from data_utils.sources import Part

_STEP_ROWS = 1 << 17


@dataclass
class Counts:
    """What became of the rows that were read; ``is_new`` as in ``Rows``."""

    num_read: int = 0
    num_filtered: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejected: dict[str, str] = field(default_factory=dict)
    """Reason to "file, line number" of the first row rejected for it."""
    oddities: dict[str, int] = field(default_factory=dict)
    first_oddities: dict[str, str] = field(default_factory=dict)
    """The same of rows that are used."""
    is_new: bool = False


class Collection:
    """Takes in chunks in the order of the source; a context manager that owns two open files."""

    def __init__(self, folder: Path, *, strict: bool) -> None:
        self.counts = Counts()
        self.tokens = _Numbering()
        self.labels = _Numbering()
        self._strict = strict
        self._tokens_file = (folder / "tokens.partial").open("w+b")
        self._text_file = (folder / "text.partial").open("w+b")
        self._columns: dict[str, list[NDArray[Any]]] = {}

    def add(self, part: Part, encoder: int, chunk: Chunk) -> None:
        """Append a chunk. Raises DataError if it has rejects and the collection is strict."""
        self._count(part, chunk)
        token_ids = self.tokens.renumber(encoder, chunk.token_ids, chunk.new_tokens)
        label_ids = self.labels.renumber(encoder, chunk.label_ids, chunk.new_labels)
        self._tokens_file.write(token_ids.data)
        self._text_file.write(chunk.text)
        split = -1 if part.split is None else part.split
        for name, column in (
            ("lengths", chunk.lengths),
            ("groups", chunk.groups),
            ("labels", label_ids),
            ("text_lengths", chunk.text_lengths),
            ("row_hashes", chunk.row_hashes),
            ("splits", np.full(len(label_ids), split, dtype=np.int8)),
        ):
            self._columns.setdefault(name, []).append(column)

    def column(self, name: str) -> NDArray[Any]:
        """A column of all rows: lengths, groups, labels, text_lengths, row_hashes or splits."""
        blocks = self._columns.get(name)
        if not blocks:  # the source had no rows at all
            return np.zeros(0, dtype=np.int64)
        if len(blocks) > 1:
            self._columns[name] = blocks = [np.concatenate(blocks)]
        return blocks[0]

    def token_blocks(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int32]]]:
        """Some rows at a time: which rows, their lengths (n,) and their token ids (t,)."""
        yield from self._blocks(self._tokens_file, "lengths", np.int32)

    def text_blocks(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.uint8]]]:
        """Some rows at a time: which rows, their lengths (n,) and their UTF-8 bytes (b,)."""
        yield from self._blocks(self._text_file, "text_lengths", np.uint8)

    def _blocks(
        self, file: BinaryIO, lengths_name: str, dtype: type[np.generic]
    ) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[Any]]]:
        file.seek(0)
        all_lengths = self.column(lengths_name)
        for start in range(0, len(all_lengths), _STEP_ROWS):
            lengths = all_lengths[start : start + _STEP_ROWS].astype(np.int64)
            size = int(lengths.sum()) * np.dtype(dtype).itemsize
            yield (
                slice(start, start + len(lengths)),
                lengths,
                np.frombuffer(file.read(size), dtype=dtype),
            )

    def _count(self, part: Part, chunk: Chunk) -> None:
        counts = self.counts
        counts.num_read += chunk.num_read
        counts.num_filtered += chunk.num_filtered
        counts.is_new |= chunk.is_new or part.is_new
        for found, numbers, first in (
            (chunk.rejects, counts.rejected, counts.first_rejected),
            (chunk.oddities, counts.oddities, counts.first_oddities),
        ):
            for reason, (count, line) in sorted(found.items(), key=lambda item: item[1][1]):
                if self._strict and reason != JOINED:  # as CSV has it
                    raise DataError(f"{part.path}, line {line}: {reason} (refused with --strict)")
                numbers[reason] = numbers.get(reason, 0) + count
                first.setdefault(reason, f"{part.path.name}, line {line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in (self._tokens_file, self._text_file):
            Path(file.name).unlink()
            try:
                file.close()
            except OSError:
                pass  # what could not be flushed is not wanted any more


class _Numbering:
    """Numbers strings by first appearance, given the numbers that each encoder gave them."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self._known: dict[int, NDArray[np.int32]] = {}

    def renumber(
        self, encoder: int, numbers: NDArray[np.int32], new: Iterable[str]
    ) -> NDArray[np.int32]:
        """Turn an encoder's numbers (n,) into those of all; ``new`` continues its strings."""
        added = [self.ids.setdefault(name, len(self.ids)) for name in new]
        known = self._known.get(encoder, np.zeros(0, dtype=np.int32))
        if added:
            known = np.concatenate((known, np.array(added, dtype=np.int32)))
            self._known[encoder] = known
        return known[numbers]
