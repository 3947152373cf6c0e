"""From a block of a source's bytes to titles and labels; every row is used or counted."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

MAX_FIELD_CHARACTERS = 131_072  # the csv module's limit; it ends a quote that is never closed

NO_TITLE = "no title"
NO_LABEL = "no label"
NOT_TEXT = "title is not text"
LABEL_NOT_TEXT = "label is neither text nor a whole number"
NOT_UTF8 = "not UTF-8"
BROKEN_JSON = "broken JSON"
WRONG_FIELDS = "wrong number of fields"
LONG_FIELD = f"a field over {MAX_FIELD_CHARACTERS:,} characters (a quote never closed?)"
BROKEN_CSV = "broken CSV"

Fields = tuple[Any, Any, Any, Any]
"""Title, label, language and label quality of a row; the last two are None where not asked."""


@dataclass(frozen=True)
class Layout:
    """Where the fields of a row are found, and which rows are wanted.

    ``columns`` are the names of title, label, language and label quality; the last two are None
    unless rows are chosen by them. ``header`` are all the names of a CSV file, in order.
    """

    kind: str  # "csv", "json" or "rows"
    columns: tuple[str, str, str | None, str | None]
    language: str | None = None
    label_quality: str | None = None
    header: tuple[str, ...] = ()
    delimiter: str = ","


@dataclass(frozen=True)
class Block:
    """Whole rows of a source: bytes of whole lines or records, or rows read already."""

    data: bytes | list[Fields]
    first_line: int
    fraction: float  # of the source read once this block is


@dataclass
class Rows:
    """The usable rows of a block, and how many were not."""

    titles: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    num_read: int = 0
    num_filtered: int = 0
    rejects: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Reason to (how many, line number of the first)."""

    def reject(self, reason: str, line: int) -> None:
        count, first = self.rejects.get(reason, (0, line))
        self.rejects[reason] = (count + 1, first)


def parse_block(layout: Layout, block: Block) -> Rows:
    """Read a block; never fails on what a row holds."""
    if isinstance(block.data, list):
        return _check(layout, enumerate(block.data, block.first_line), Rows())
    if layout.kind == "json":
        rows = Rows()
        return _check(layout, _json_rows(layout, block.data, block.first_line, rows), rows)
    quick = _quick_csv(layout, block.data)
    if quick is not None:
        return quick
    rows = Rows()
    return _check(layout, _csv_rows(layout, block.data, block.first_line, rows), rows)


def _check(layout: Layout, numbered: Iterable[tuple[int, Fields]], rows: Rows) -> Rows:
    """Sort rows into usable ones, rejects and those that were not asked for."""
    chooses = layout.language is not None or layout.label_quality is not None
    for line, (title, label, language, label_quality) in numbered:
        rows.num_read += 1
        if chooses and not (
            _wanted(language, layout.language) and _wanted(label_quality, layout.label_quality)
        ):
            rows.num_filtered += 1
            continue
        if type(label) is int:
            label = str(label)
        reason = _fault(title, label)
        if reason is not None:
            rows.reject(reason, line)
            continue
        rows.titles.append(title)
        rows.labels.append(label)
    return rows


def _wanted(value: Any, wanted: str | None) -> bool:
    return wanted is None or (isinstance(value, str) and value.strip().casefold() == wanted)


def _fault(title: Any, label: Any) -> str | None:
    if title is None or title == "":
        return NO_TITLE
    if not isinstance(title, str):
        return NOT_TEXT
    if not title.strip():
        return NO_TITLE
    if label is None or label == "":
        return NO_LABEL
    if not isinstance(label, str):
        return LABEL_NOT_TEXT
    if not label.strip():
        return NO_LABEL
    return None


def _has_raw_bytes(text: str) -> bool:
    # What surrogateescape makes of bytes that are not UTF-8.
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def _quick_csv(layout: Layout, data: bytes) -> Rows | None:
    """Read a block without fault, which nearly all are; None if any row needs a closer look."""
    try:
        lines = io.StringIO(data.decode("utf-8"), newline="")
        table = list(csv.reader(lines, delimiter=layout.delimiter))
    except (UnicodeDecodeError, csv.Error):
        return None
    if set(map(len, table)) != {len(layout.header)}:
        return None
    rows = Rows(num_read=len(table))
    for column, wanted in zip(
        layout.columns[2:], (layout.language, layout.label_quality), strict=True
    ):
        if wanted is not None and column is not None:
            value = itemgetter(layout.header.index(column))
            values = {found for found in set(map(value, table)) if _wanted(found, wanted)}
            table = [row for row in table if value(row) in values]
    rows.num_filtered = rows.num_read - len(table)
    rows.titles = list(map(itemgetter(layout.header.index(layout.columns[0])), table))
    rows.labels = list(map(itemgetter(layout.header.index(layout.columns[1])), table))
    if all(map(str.strip, rows.titles)) and all(map(str.strip, set(rows.labels))):
        return rows
    return None


def _csv_rows(
    layout: Layout, data: bytes, first_line: int, rows: Rows
) -> Iterator[tuple[int, Fields]]:
    places = [None if name is None else layout.header.index(name) for name in layout.columns]
    lines = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    reader = csv.reader(lines, delimiter=layout.delimiter)
    while True:
        line = first_line + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rows.num_read += 1
            rows.reject(LONG_FIELD if "field limit" in str(error) else BROKEN_CSV, line)
            continue
        if not row:  # a blank line
            continue
        if len(row) != len(layout.header):
            rows.num_read += 1
            rows.reject(WRONG_FIELDS, line)
            continue
        title, label, language, quality = (None if i is None else row[i] for i in places)
        if _has_raw_bytes(f"{title}{label}"):
            rows.num_read += 1
            rows.reject(NOT_UTF8, line)
            continue
        yield line, (title, label, language, quality)


def _json_rows(
    layout: Layout, data: bytes, first_line: int, rows: Rows
) -> Iterator[tuple[int, Fields]]:
    title, label, language, quality = layout.columns
    for line, text in enumerate(data.split(b"\n"), first_line):
        if not text or text.isspace():
            continue
        try:
            found = json.loads(text.decode("utf-8"))
        except UnicodeDecodeError:
            rows.num_read += 1
            rows.reject(NOT_UTF8, line)
            continue
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            rows.num_read += 1
            rows.reject(BROKEN_JSON, line)
            continue
        yield (
            line,
            (
                found.get(title),
                found.get(label),
                found.get(language) if language is not None else None,
                found.get(quality) if quality is not None else None,
            ),
        )
