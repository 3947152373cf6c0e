"""From a block of a source's bytes to titles and labels; every row is used or counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any

from data_utils.records import (
    HEADER_REPEATED,
    NOT_UTF8,
    STRAY_QUOTE,
    Block,
    Fields,
    Layout,
    csv_rows,
    header_names,
    is_unicode,
    json_rows,
    quick_table,
)

NO_TITLE = "no title"
NO_LABEL = "no label"
NOT_TEXT = "title is not text"
LABEL_NOT_TEXT = "label is neither text nor a whole number"


@dataclass
class Rows:
    """The usable rows of a block, and how many were not.

    ``is_new`` says that earlier versions read the block otherwise: with other rows, or fewer.
    """

    titles: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    num_read: int = 0
    num_filtered: int = 0
    rejects: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Reason to (how many, line number of the first)."""
    is_new: bool = False

    def reject(self, reason: str, line: int) -> None:
        count, first = self.rejects.get(reason, (0, line))
        self.rejects[reason] = (count + 1, first)


def parse_block(layout: Layout, block: Block) -> Rows:
    """Read a block; never fails on what a row holds."""
    rows = Rows()
    if isinstance(block.data, list):
        lines = enumerate(block.data, block.first_line)
        return _check(layout, ((line, fields, None) for line, fields in lines), rows)
    if layout.kind == "json":
        return _check(layout, _json_fields(layout, block), rows)
    rows.is_new = STRAY_QUOTE in block.oddities
    if _fill_quickly(layout, block.data, rows):
        return rows
    return _check(layout, csv_rows(layout, block), rows)


def _check(layout: Layout, numbered: Iterable[tuple[int, Fields, str | None]], rows: Rows) -> Rows:
    """Sort rows into usable ones, rejects and those that were not asked for."""
    chooses = layout.language is not None or layout.label_quality is not None
    for line, (title, label, language, label_quality), reason in numbered:
        rows.num_read += 1
        if reason is not None:
            rows.reject(reason, line)
            rows.is_new |= reason == HEADER_REPEATED and not chooses
            continue
        if chooses and not (
            _wanted(language, layout.language) and _wanted(label_quality, layout.label_quality)
        ):
            rows.num_filtered += 1
            continue
        text = label if type(label) is str else label_text(label)
        reason = _fault(title, text)
        if reason is not None:
            rows.reject(reason, line)
            continue
        rows.titles.append(title)
        rows.labels.append(text)
        rows.is_new |= type(label) not in (str, int)
    return rows


def _wanted(value: Any, wanted: str | None) -> bool:
    return wanted is None or (isinstance(value, str) and value.strip().casefold() == wanted)


def label_text(value: Any) -> Any:
    """A label as text: whole numbers of any type, decimals, true and false; None for NaN.

    Anything else is returned as it is.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if value != value:  # NaN: how tables of numbers write that there is none
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite():
        return format(value.normalize(), "f")
    return value


def _fault(title: Any, label: Any) -> str | None:
    if title is None or title == "":
        return NO_TITLE
    if isinstance(title, bytes) or isinstance(label, bytes):
        return NOT_UTF8
    if not isinstance(title, str):
        return f"{NOT_TEXT} ({type(title).__name__})"
    if not title.strip():
        return NO_TITLE
    if label is None or label == "":
        return NO_LABEL
    if not isinstance(label, str):
        return f"{LABEL_NOT_TEXT} ({type(label).__name__})"
    if not label.strip():
        return NO_LABEL
    return None if is_unicode(label) else NOT_UTF8


def _fill_quickly(layout: Layout, data: bytes, rows: Rows) -> bool:
    """Take the rows of a block without fault; False, and nothing taken, if there is any."""
    table = quick_table(layout, data)
    if table is None:
        return False
    num_read = len(table)
    for column, wanted in zip(
        layout.columns[2:], (layout.language, layout.label_quality), strict=True
    ):
        if wanted is not None and column is not None:
            value = itemgetter(layout.header.index(column))
            values = {found for found in set(map(value, table)) if _wanted(found, wanted)}
            table = [row for row in table if value(row) in values]
    title, label = (layout.header.index(str(name)) for name in layout.columns[:2])
    titles, labels = list(map(itemgetter(title), table)), list(map(itemgetter(label), table))
    different = set(labels)
    if not (all(map(str.strip, titles)) and all(map(str.strip, different))):
        return False
    if not different.isdisjoint(header_names(layout.header[label])):
        return False
    rows.num_read, rows.num_filtered = num_read, num_read - len(table)
    rows.titles, rows.labels = titles, labels
    return True


def _json_fields(layout: Layout, block: Block) -> Iterator[tuple[int, Fields, str | None]]:
    title, label, language, quality = layout.columns
    for line, found, reason in json_rows(block):
        values = found or {}
        fields = (
            values.get(title),
            values.get(label or ""),
            None if language is None else values.get(language),
            None if quality is None else values.get(quality),
        )
        yield line, fields, reason
