"""From a block of bytes to its records: the fields of CSV, the objects of JSON lines."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_FIELD_CHARACTERS = 131_072  # the csv module's limit

NOT_UTF8 = "not UTF-8"
BROKEN_JSON = "broken JSON"
WRONG_FIELDS = "wrong number of fields"
LONG_FIELD = f"a field over {MAX_FIELD_CHARACTERS:,} characters"
BROKEN_CSV = "broken CSV"
HEADER_REPEATED = "header repeated"
STRAY_QUOTE = "stray quote, read as text"
JOINED = "line within quotes"

Fields = tuple[Any, Any, Any, Any]
"""Title, label, language and label quality of a row; the last three are None where not asked."""


@dataclass(frozen=True)
class Layout:
    """Where the fields of a row are found, and which rows are wanted.

    ``columns`` are the names of title, label, language and label quality; the last two are None
    unless rows are chosen by them, and the label where titles alone are read. ``header`` are all
    the names of a CSV file, in order; ``skip_spaces`` says that spaces follow its delimiters,
    ``quotes`` that it is known to have fields in quotes.
    """

    kind: str  # "csv", "json" or "rows"
    columns: tuple[str, str | None, str | None, str | None]
    language: str | None = None
    label_quality: str | None = None
    header: tuple[str, ...] = ()
    delimiter: str = ","
    skip_spaces: bool = False
    quotes: bool = False


@dataclass(frozen=True)
class Block:
    """Whole rows of a source: bytes of whole lines or records, or rows read already.

    ``oddities`` say what was seen in cutting them: how often, and the line of the first.
    """

    data: bytes | list[Fields]
    first_line: int
    fraction: float  # of the source read once this block is
    oddities: dict[str, tuple[int, int]] = field(default_factory=dict)


def quick_table(layout: Layout, data: bytes) -> list[list[str]] | None:
    """The rows of CSV without fault, as nearly all is; None if any needs a closer look."""
    try:
        table = list(csv_reader(layout, data.decode("utf-8")))
    except (UnicodeDecodeError, csv.Error):
        return None
    return table if set(map(len, table)) == {len(layout.header)} else None


def csv_reader(layout: Layout, text: str) -> Any:
    """A reader of the records in ``text``."""
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=layout.delimiter,
        skipinitialspace=layout.skip_spaces,
    )


def header_names(name: str) -> tuple[str, str]:
    """How a name of the header looks in the header of a part further down."""
    return name, f"\ufeff{name}"  # a byte order mark, if it is the first


def csv_rows(layout: Layout, block: Block) -> Iterator[tuple[int, Fields, str | None]]:
    """Line, fields and what is wrong of each record; its fields are None unless it has them.

    Bytes that are not UTF-8 are left in the fields as ``surrogateescape`` decodes them.
    """
    assert isinstance(block.data, bytes)
    places = [None if name is None else layout.header.index(name) for name in layout.columns]
    none: Fields = (None, None, None, None)
    header = list(layout.header)
    marked = [header_names(header[0])[1], *header[1:]]
    reader = csv_reader(layout, block.data.decode("utf-8", "surrogateescape"))
    while True:
        line = block.first_line + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, none, LONG_FIELD if "field limit" in str(error) else BROKEN_CSV
            continue
        if not row:  # a blank line
            continue
        if len(row) != len(header):
            yield line, none, WRONG_FIELDS
            continue
        fields = tuple(None if place is None else row[place] for place in places)
        title, label, language, quality = fields
        if row in (header, marked):
            reason: str | None = HEADER_REPEATED
        else:
            reason = None if is_unicode(f"{title}{label}") else NOT_UTF8
        yield line, (title, label, language, quality), reason


def json_rows(block: Block) -> Iterator[tuple[int, dict[str, Any] | None, str | None]]:
    """Line, object and what is wrong of each line; the object is None if it holds none."""
    assert isinstance(block.data, bytes)
    line = block.first_line
    for text in block.data.split(b"\n"):
        ends = text.rstrip(b"\r").count(b"\r")
        found, reason = _json_object(text)
        # Lines may end in a carriage return alone; in a string there can be none.
        pieces = text.split(b"\r") if ends and found is None else [text]
        for number, piece in enumerate(pieces):
            if piece and not piece.isspace():
                if len(pieces) > 1:
                    found, reason = _json_object(piece)
                yield line + number, found, reason
        line += 1 + ends


def _json_object(line: bytes) -> tuple[dict[str, Any] | None, str | None]:
    reason = None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text, reason = line.decode("utf-8", "replace"), NOT_UTF8
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return (found, reason) if isinstance(found, dict) else (None, reason or BROKEN_JSON)


def is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair is in it, as a broken JSON escape leaves it."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
