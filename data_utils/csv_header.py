"""The header of a CSV file: its names, its delimiter, and where its rows begin."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_utils.errors import DataError
from data_utils.quotes import count_lines, uses_quotes

HEAD_BYTES = 1 << 20

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)?")
_EXCEL_LINE = re.compile(rb'"?sep=(.)"?\s*(?:\r\n|\n|\r)', re.IGNORECASE)
_LINES_TO_LOOK_AT = 1_000


@dataclass(frozen=True)
class CsvHeader:
    """What the first bytes of a CSV file say about it.

    ``size`` is its length in bytes, ``num_lines`` in lines, blank ones before it included.
    ``skip_spaces`` says that spaces follow its delimiters, ``has_returns`` that a carriage return
    alone ends one of its lines, ``quotes`` that rows after it have fields in quotes. ``doubt`` is
    what seems to be wrong if it lacks a name that is wanted.
    """

    names: tuple[str, ...]
    delimiter: str
    skip_spaces: bool
    size: int
    num_lines: int
    has_returns: bool
    quotes: bool
    doubt: str


def read_header(
    path: Path, head: bytes, wanted: Sequence[str], *, tabs_first: bool, is_all: bool
) -> CsvHeader:
    """Read the header from the first bytes; ``is_all`` says that the file has no more.

    The delimiter is the one under which it has the columns, or most of them, or else most
    names. Raises DataError if there is no header within the first bytes.
    """
    excel = _EXCEL_LINE.match(head)
    start = excel.end() if excel else 0
    delimiters = excel[1].decode("latin-1") if excel else "\t,;|" if tabs_first else ",\t;|"
    found = [
        (not set(wanted) <= set(names), skips, -len(names), number, delimiter, names, end)
        for number, delimiter in enumerate(delimiters)
        for skips in (False, True)
        for names, end in _records(head, start, delimiter, skip_spaces=skips, count=1)
    ]
    if not found:
        raise DataError(f"{path} is no table: its first line is not a CSV header")
    lacks, skips, _, _, delimiter, names, end = min(found)
    if end == len(head) and not is_all:
        raise DataError(f"{path} is no table: its first line is over {HEAD_BYTES >> 20} MB long")
    header = head[:end]
    return CsvHeader(
        names=tuple(names),
        delimiter=delimiter,
        skip_spaces=skips,
        size=end,
        num_lines=count_lines(header, 0, end) + (not header.endswith((b"\r", b"\n"))),
        has_returns=re.search(rb"\r(?!\n)", header) is not None,
        quotes=uses_quotes(head[end:], delimiter),
        doubt=_doubt(head, start, delimiter, names, wanted) if lacks else "",
    )


def _records(
    head: bytes, start: int, delimiter: str, *, skip_spaces: bool, count: int
) -> Iterator[tuple[list[str], int]]:
    """The first records that are not blank, each with where it ends."""
    end = start

    def lines() -> Iterator[str]:
        nonlocal end
        for line in _LINE.finditer(head, start):
            end = line.end()
            yield line[0].decode("utf-8", "replace")

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=skip_spaces)
    try:
        for record in reader:
            if record:
                yield [name.strip() for name in record] if skip_spaces else record, end
                count -= 1
            if not count:
                return
    except csv.Error:
        return


def _doubt(
    head: bytes, start: int, delimiter: str, names: list[str], wanted: Sequence[str]
) -> str:
    """What the first line seems to be, if not the header."""
    for line, other in _later_headers(head, start):
        if set(wanted) <= set(other):
            return f"the header seems to be line {line}: remove what stands before it"
    if names[0].startswith("__label__"):
        return "that is the form of fastText: write a table with a column for the category"
    rows = _records(head, start, delimiter, skip_spaces=False, count=_LINES_TO_LOOK_AT)
    for row, _ in rows:
        if row != names and len(row) == len(names) and any(map(_equal_text, row, names)):
            columns = delimiter.join(wanted)
            return f"its first line looks like a row: a header is needed above it ({columns})"
    return ""


def _later_headers(head: bytes, start: int) -> Iterator[tuple[int, list[str]]]:
    """The lines after the first, with their names under each delimiter."""
    for number, line in enumerate(_LINE.finditer(head, start), count_lines(head, 0, start) + 1):
        if number > 20 or not line[0]:
            return
        for delimiter in ",\t;|":
            text = line[0].decode("utf-8", "replace").strip()
            names = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
            yield number, [name.strip() for name in names]


def _equal_text(one: str, other: str) -> bool:
    return one == other and one != ""
