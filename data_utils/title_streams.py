"""Titles without labels, one after the other, from a file or standard input of any length.

Every row gives one title, so that what is made of them can be set beside the source line by
line: a row that cannot be read gives an empty title, and is counted.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from data_utils.errors import DataError, one_line
from data_utils.parquet import parquet_columns, parquet_values
from data_utils.parsing import MAX_FIELD_CHARACTERS
from data_utils.readers import decompressor, reading, refuse_other_forms

STANDARD_INPUT = Path("standard input")
DEFAULT_COLUMN = "title"

_BOM = b"\xef\xbb\xbf"
_LONGEST_LINE_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 20
_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".json", ".ndjson"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}


@dataclass
class Oddities:
    """Rows that were not read as they stand."""

    not_utf8: int = 0
    cut: int = 0
    unreadable: int = 0

    def __str__(self) -> str:
        parts = (
            (self.not_utf8, "not UTF-8, read with \N{REPLACEMENT CHARACTER} for what is not"),
            (self.cut, f"cut at {MAX_FIELD_CHARACTERS:,} characters"),
            (self.unreadable, "without a title that can be read, taken as empty"),
        )
        return "; ".join(f"{count:,} {what}" for count, what in parts if count)


def read_titles(
    path: Path | None, *, column: str | None, oddities: Oddities
) -> Generator[str, None, None]:
    """The titles of a file, or of standard input for None.

    CSV, JSON lines and Parquet are known by the name, and by ``column``, the title's (else
    ``title``); anything else is plain text with a title a line. All but Parquet may be
    compressed with gz, bz2 or xz. Counts in ``oddities`` as it reads.

    Raises DataError, when the first title is asked for, if the file is not there or has no such
    column; later if it is damaged.
    """
    if path is not None and not path.exists():
        raise DataError(f"{path} does not exist: check the path of the titles")
    with _opened(path) as stream:
        name = path or STANDARD_INPUT
        form = _form(name, _peek(stream), column)
        column = column or DEFAULT_COLUMN
        if form == "parquet":
            titles = _parquet_titles(path, column, oddities)
        else:
            if _peek(stream).startswith(_BOM):
                stream.read(len(_BOM))
            titles = _READERS[form](name, stream, column, oddities)
        yield from titles


@contextmanager
def _opened(path: Path | None) -> Iterator[io.BufferedReader]:
    """The decompressed bytes. Raises DataError, also while they are read."""
    with reading(path or STANDARD_INPUT):
        if path is None:
            yield _decompressed(STANDARD_INPUT, cast(io.BufferedReader, sys.stdin.buffer))
            return
        with path.open("rb") as file:
            yield _decompressed(path, file)


def _decompressed(path: Path, file: io.BufferedReader) -> io.BufferedReader:
    magic = _peek(file)
    stream: BinaryIO = decompressor(magic)(file)
    # Their own readline is written in Python, that of BufferedReader is not.
    if stream is not file:
        file = cast(
            io.BufferedReader, io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES)
        )
    refuse_other_forms(path, _peek(file))
    return file


def _peek(stream: io.BufferedReader) -> bytes:
    return stream.peek(16)[:16]


def _form(path: Path, head: bytes, column: str | None) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    if head.startswith(b"PAR1"):
        return "parquet"
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    if column is None:
        return "text"
    return "json" if head.lstrip(_BOM).lstrip()[:1] == b"{" else "csv"


def _lines(stream: BinaryIO, limit: int, oddities: Oddities) -> Iterator[bytes]:
    """The lines; what a line has beyond ``limit`` bytes is left out and counted."""
    while line := stream.readline(limit):
        if len(line) == limit and not line.endswith(b"\n"):
            oddities.cut += 1
            rest = stream.readline(limit)
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(limit)
            line += b"\n"
        yield line


def _text_titles(path: Path, stream: BinaryIO, column: str, oddities: Oddities) -> Iterator[str]:
    for line in _lines(stream, MAX_FIELD_CHARACTERS, oddities):
        line = line.rstrip(b"\r\n")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            oddities.not_utf8 += 1
            yield line.decode("utf-8", "replace")


def _json_titles(path: Path, stream: BinaryIO, column: str, oddities: Oddities) -> Iterator[str]:
    is_first = True
    for line in _lines(stream, _LONGEST_LINE_BYTES, oddities):
        if line.isspace():
            continue
        try:
            found = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            found = None
        if is_first:
            if not isinstance(found, dict):
                raise DataError(f"{path} is not JSON lines: its first line is no JSON object")
            _check_column(path, list(found), column)
            is_first = False
        if isinstance(found, dict) and not line.isascii():
            oddities.not_utf8 += not _is_utf8(line)
        yield _title(found.get(column) if isinstance(found, dict) else None, oddities)


def _csv_titles(path: Path, stream: BinaryIO, column: str, oddities: Oddities) -> Iterator[str]:
    lines = (
        line.decode("utf-8", "surrogateescape")
        for line in _lines(stream, _LONGEST_LINE_BYTES, oddities)
    )
    header = next((line for line in lines if line.strip()), None)
    if header is None:
        return
    delimiter, names = _csv_header(header, column, tabs_first=".tsv" in path.suffixes)
    _check_column(path, names, column)
    place = names.index(column)
    rows = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield _title(None, oddities)
            continue
        if not row:  # a blank line
            continue
        title = row[place] if len(row) == len(names) else None
        if title is not None and not _is_text(title):
            oddities.not_utf8 += 1
            title = title.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        yield _title(title, oddities)


def _csv_header(line: str, column: str, *, tabs_first: bool) -> tuple[str, list[str]]:
    """The delimiter under which the header has the column, or else the most names."""
    best: tuple[tuple[bool, int], str, list[str]] | None = None
    for delimiter in "\t,;|" if tabs_first else ",\t;|":
        names = next(csv.reader([line], delimiter=delimiter), [])
        rank = (column in names, len(names))
        if best is None or rank > best[0]:
            best = (rank, delimiter, names)
    assert best is not None
    return best[1], best[2]


def _parquet_titles(path: Path | None, column: str, oddities: Oddities) -> Iterator[str]:
    if path is None:
        raise DataError("Parquet cannot be read from standard input: give the file's path")
    _check_column(path, parquet_columns(path), column)
    for value in parquet_values(path, column):
        yield _title(value, oddities)


def _check_column(path: Path, names: Sequence[str], column: str) -> None:
    if column not in names:
        shown = ", ".join(name[:40] for name in names[:20]) + (", ..." if len(names) > 20 else "")
        raise DataError(
            f"{path} has no column {column!r}: it has {one_line(shown)}; choose with --text-column"
        )


def _title(value: Any, oddities: Oddities) -> str:
    if not isinstance(value, str):
        oddities.unreadable += 1
        return ""
    if len(value) > MAX_FIELD_CHARACTERS:
        oddities.cut += 1
        value = value[:MAX_FIELD_CHARACTERS]
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as a broken JSON escape leaves it
        oddities.not_utf8 += 1
        return value.encode("utf-8", "replace").decode()
    return value


def _is_text(value: str) -> bool:
    """Whether no byte of it was taken over undecoded."""
    return value.isascii() or not any("\udc80" <= c <= "\udcff" for c in value)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_READERS: dict[str, Callable[[Path, BinaryIO, str, Oddities], Iterator[str]]] = {
    "text": _text_titles,
    "json": _json_titles,
    "csv": _csv_titles,
}
