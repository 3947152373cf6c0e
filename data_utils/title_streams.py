"""Titles without labels, one after the other, from a file or standard input of any length.

Every row gives one title, so that what is made of them can be set beside the source line by
line: a row that cannot be read gives an empty title, and is counted. Files are read with the
code that reads them for training.
"""

import io
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from data_utils.columns import check_column, json_names
from data_utils.compression import decompressed
from data_utils.csv_header import HEAD_BYTES, read_header
from data_utils.errors import DataError
from data_utils.parquet import parquet_columns, parquet_values
from data_utils.quotes import count_lines
from data_utils.readers import cut_stream, reading, refuse_other_forms, skip_mark
from data_utils.records import (
    HEADER_REPEATED,
    MAX_FIELD_CHARACTERS,
    NOT_UTF8,
    STRAY_QUOTE,
    Block,
    Layout,
    csv_rows,
    header_names,
    is_unicode,
    json_rows,
    quick_table,
)

STANDARD_INPUT = Path("standard input")
DEFAULT_COLUMN = "title"
_ADVICE = "choose with --text-column"

_BUFFER_BYTES = 1 << 20
_HEAD_LINES = 3  # the line "sep=" that Excel writes, the header and a row
_LONGEST_LINE_BYTES = 4 * (MAX_FIELD_CHARACTERS + 1)  # more than that many characters
_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".json", ".ndjson"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}


@dataclass(frozen=True)
class _Input:
    """Decompressed bytes behind the byte order mark; ``read`` gives the next ones."""

    path: Path
    stream: io.BufferedReader
    read: Callable[[int], bytes]
    column: str


@dataclass
class Oddities:
    """Rows that were not read as they stand."""

    not_utf8: int = 0
    cut: int = 0
    unreadable: int = 0
    stray_quotes: int = 0
    headers: int = 0

    def __str__(self) -> str:
        parts = (
            (self.not_utf8, "not UTF-8, read with \N{REPLACEMENT CHARACTER} for what is not"),
            (self.cut, f"cut at {MAX_FIELD_CHARACTERS:,} characters"),
            (self.unreadable, "without a title that can be read, taken as empty"),
            (self.stray_quotes, "with a stray quote, read as text"),
            (self.headers, "the header once more, left out"),
        )
        return "; ".join(f"{count:,} {what}" for count, what in parts if count)


def read_titles(
    path: Path | None, *, column: str | None, oddities: Oddities
) -> Generator[str, None, None]:
    """The titles of a file, or of standard input for None.

    CSV, JSON lines and Parquet are known by the name, and by ``column``, the title's (else
    ``title``); anything else is plain text with a title a line. All but Parquet may be
    compressed with gz, bz2 or xz. Counts in ``oddities`` as it reads.

    Raises DataError, when the first title is asked for, if the file is not there, has no such
    column or no row with a title; later if it is damaged.
    """
    is_given = column is not None
    if path is not None and not path.exists():
        raise DataError(f"{path} does not exist: check the path of the titles")
    name = path or STANDARD_INPUT
    column = DEFAULT_COLUMN if column is None else column
    with _opened(path) as stream:
        form = _form(name, _peek(stream), is_given)
        if form == "parquet":
            titles = _parquet_titles(path, column, oddities)
        else:
            skip_mark(stream)
            # What comes through a pipe is answered as it comes.
            read = stream.read1 if path is None else stream.read
            titles = _READERS[form](_Input(name, stream, read, column), oddities)
        yield from _from_first_title(name, column, titles)


def _from_first_title(path: Path, column: str, titles: Iterator[str | None]) -> Iterator[str]:
    """The titles, empty where there is none. Raises DataError if there is none at all."""
    count = 0
    for title in titles:
        count += 1
        if title is not None:
            break
    else:
        if count:
            raise DataError(
                f"none of the {count:,} rows of {path} has a title that can be read in its "
                f"column {column!r}: choose another with --text-column"
            )
        return
    yield from repeat("", count - 1)
    yield title
    for title in titles:
        yield title or ""


@contextmanager
def _opened(path: Path | None) -> Iterator[io.BufferedReader]:
    """The decompressed bytes. Raises DataError, also while they are read."""
    name = path or STANDARD_INPUT
    with reading(name), ExitStack() as stack:
        if path is None:
            file = cast(io.BufferedReader, sys.stdin.buffer)
        else:
            opened = stack.enter_context(path.open("rb", buffering=_BUFFER_BYTES))
            file = cast(io.BufferedReader, opened)
        stream = decompressed(file, _peek(file))
        refuse_other_forms(name, _peek(stream))
        yield stream


def _peek(stream: io.BufferedReader) -> bytes:
    return stream.peek(16)[:16]


def _form(path: Path, head: bytes, is_column_given: bool) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    if head.startswith(b"PAR1"):
        return "parquet"
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    if not is_column_given:
        return "text"
    return "json" if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else "csv"


def _text_titles(given: _Input, oddities: Oddities) -> Iterator[str | None]:
    for line in _lines(given):
        yield _title(line.decode("utf-8", "surrogateescape"), oddities)


def _lines(given: _Input) -> Iterator[bytes]:
    """The lines, of which enough is kept to see that they are too long."""
    head = given.stream.peek(1)
    # As on an old Mac, if no line feed is among the first bytes.
    end = b"\r" if b"\r" in head and b"\n" not in head else b"\n"
    rest = b""
    while data := given.read(_BUFFER_BYTES):
        *lines, rest = (rest + data).split(end)
        for line in lines:
            yield line.rstrip(b"\r")
        rest = rest[:_LONGEST_LINE_BYTES]
    if rest:
        yield rest.rstrip(b"\r")


def _json_titles(given: _Input, oddities: Oddities) -> Iterator[str | None]:
    head = _head(given)
    if not head.strip():
        return
    names = json_names(given.path, head)
    layout = Layout(kind="json", columns=(given.column, None, None, None))
    has_column = given.column in names
    for block in cut_stream(given.path, given.read, layout, first_line=1, head=head):
        for _, found, reason in json_rows(block):
            has_column = has_column or (found is not None and given.column in found)
            oddities.not_utf8 += found is not None and reason == NOT_UTF8
            yield _title((found or {}).get(given.column), oddities)
    if not has_column:
        check_column(given.path, names, given.column, advice=_ADVICE)


def _csv_titles(given: _Input, oddities: Oddities) -> Iterator[str | None]:
    head = _head(given)
    if not head.strip():
        return
    header = read_header(
        given.path,
        head,
        [given.column],
        tabs_first=".tsv" in given.path.suffixes,
        is_all=len(head) < HEAD_BYTES,
    )
    check_column(given.path, header.names, given.column, advice=header.doubt or _ADVICE)
    layout = Layout(
        kind="csv",
        columns=(given.column, None, None, None),
        header=header.names,
        delimiter=header.delimiter,
        skip_spaces=header.skip_spaces,
        quotes=header.quotes,
    )
    for block in cut_stream(
        given.path,
        given.read,
        layout,
        first_line=header.num_lines + 1,
        head=head[header.size :],
    ):
        oddities.stray_quotes += block.oddities.get(STRAY_QUOTE, (0, 0))[0]
        yield from _block_titles(layout, block, oddities)


def _block_titles(layout: Layout, block: Block, oddities: Oddities) -> Iterator[str | None]:
    assert isinstance(block.data, bytes)
    table = quick_table(layout, block.data)
    column = layout.columns[0]
    titles: Iterable[str | None]
    titles = [] if table is None else list(map(itemgetter(layout.header.index(column)), table))
    if table is None or any(name in titles for name in header_names(column)):
        titles = _slow_titles(layout, block, oddities)
    for title in titles:
        yield _title(title, oddities)


def _slow_titles(layout: Layout, block: Block, oddities: Oddities) -> Iterator[str | None]:
    for _, (title, *_), reason in csv_rows(layout, block):
        if reason == HEADER_REPEATED:
            oddities.headers += 1
        else:
            yield title


def _head(given: _Input) -> bytes:
    """The first bytes: many of a file, of a pipe those up to some whole lines."""
    head = b""
    while new := given.read(HEAD_BYTES - len(head)):
        head += new
        if count_lines(head, 0, len(head)) >= _HEAD_LINES:
            break
    return head


def _parquet_titles(path: Path | None, column: str, oddities: Oddities) -> Iterator[str | None]:
    if path is None:
        raise DataError("Parquet cannot be read from standard input: give the file's path")
    check_column(path, parquet_columns(path), column, advice=_ADVICE)
    for value in parquet_values(path, column):
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        yield _title(value, oddities)


def _title(value: Any, oddities: Oddities) -> str | None:
    """A title with its oddities mended; None if it is not text."""
    if not isinstance(value, str):
        oddities.unreadable += 1
        return None
    if len(value) > MAX_FIELD_CHARACTERS:
        oddities.cut += 1
        value = value[:MAX_FIELD_CHARACTERS]
    if is_unicode(value):
        return value
    oddities.not_utf8 += 1
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half of a surrogate pair, as a broken JSON escape leaves it
        return value.encode("utf-8", "replace").decode()


_READERS: dict[str, Callable[[_Input, Oddities], Iterator[str | None]]] = {
    "text": _text_titles,
    "json": _json_titles,
    "csv": _csv_titles,
}
