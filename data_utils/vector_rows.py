"""Rows of word-vector files: the form told from the first bytes, then row after row.

- word2vec text and fastText .vec: "count width" on the first line, then token and values a line
- GloVe: the same without the first line
- word2vec binary: the same first line, then token, space and ``width`` little-endian float32

In text, a token may hold spaces: it is what stands before the last ``width`` numbers.

Rows come as (line or row number from 1, token, bytes of the values), the values still unread.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from data_utils.errors import DataError

HEAD_BYTES = 1 << 18

Row = tuple[int, bytes, bytes]

_READ_BYTES = 4 << 20
_MAX_TOKEN_BYTES = 1 << 16
_LONGEST_LINE_BYTES = 1 << 20  # 10,000 values of 100 characters
_MAX_WIDTH = 10_000
_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*")
_DECIMAL = re.compile(rb"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
# Files that are easily mistaken for vectors, by their first bytes.
_MISTAKEN = {
    b"\xba\x16\x4f\x2f": "a fastText model: give its .vec file",
    b"\x80": "a Python pickle: save its vectors with gensim's save_word2vec_format",
}


@dataclass(frozen=True)
class Form:
    """How a file is written; ``count`` is what its header says, None if it has none."""

    binary: bool
    count: int | None
    dim: int

    def place(self, number: int) -> str:
        """Where row ``number`` stands, for an error message."""
        return f"vector {number}" if self.binary else f"line {number}"


def detect_form(path: Path, head: bytes) -> Form:
    """Tell the form from the first bytes, decompressed. Raises DataError if it is none of ours."""
    if not head.strip():
        raise _empty(path)
    for start, kind in _MISTAKEN.items():
        if head.startswith(start):
            raise DataError(f"{path} is {kind}")
    lines = head.removeprefix(_BOM).split(b"\n")
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        return Form(binary=False, count=None, dim=_usual_width(path, lines))
    count, dim = int(header[1]), int(header[2])
    if not count:
        raise _empty(path)
    if not 1 <= dim <= _MAX_WIDTH:
        raise DataError(
            f"{path}, line 1: the width is {dim}, not between 1 and {_MAX_WIDTH}: "
            "give a file of word vectors"
        )
    return Form(_is_binary(b"\n".join(lines[1:]), dim), count, dim)


def _is_binary(rows: bytes, dim: int) -> bool:
    """Whether the first row isn't text, and what follows doesn't look like it.

    Binary floats hold control characters sooner or later; values in text are ASCII.
    """
    first = rows.partition(b"\n")[0]
    if _count_numbers(b"x " + first) >= dim:
        return False
    return not first.partition(b" ")[2].isascii() or _CONTROL.search(rows) is not None


def _usual_width(path: Path, lines: list[bytes]) -> int:
    """The width that most of the first lines have, so that a broken one stands out."""
    whole = lines[:-1] or lines  # the last one may be cut by the end of the head
    widths = [_count_numbers(line) for line in whole[:20] if line.strip()]
    width = max(widths, key=widths.count)
    if not 1 < width <= _MAX_WIDTH:
        raise _no_vectors(path)
    return width


def _count_numbers(line: bytes) -> int:
    """Numbers at the end of a line; its first field is the token, whatever it looks like."""
    count = 0
    for field in reversed(line.split()[1:]):
        try:
            float(field)
        except ValueError:
            break
        count += 1
    return count


def _empty(path: Path) -> DataError:
    return DataError(f"{path} is empty: give a file of word vectors")


def _no_vectors(path: Path) -> DataError:
    return DataError(
        f"{path} is no file of word vectors: it begins neither with 'count width' "
        "nor with a token and its numbers"
    )


def text_rows(path: Path, stream: BinaryIO, form: Form) -> Iterator[Row]:
    """The rows of a text file; the number of values is checked on each.

    A row without a token, as one for a blank has none, comes with an empty one.

    Raises DataError for another number of values than the width, for a line that is longer than
    any row, and for a file that ends within a line before the row that its header says is last.
    """
    dim, num_rows, line = form.dim, 0, b"\n"
    if form.count is not None:
        stream.readline(_LONGEST_LINE_BYTES)
    lines = iter(partial(stream.readline, _LONGEST_LINE_BYTES), b"")
    for number, line in enumerate(lines, 1 if form.count is None else 2):
        text = line.rstrip()
        if text.count(b" ") == dim:
            token, _, values = text.partition(b" ")
        elif len(line) == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            raise DataError(
                f"{path}, line {number}: longer than {_LONGEST_LINE_BYTES >> 20} MB: "
                "give a file of word vectors"
            )
        elif text:
            token, values = _split_oddly_spaced(path, number, line, form)
        else:
            continue
        num_rows += 1
        yield number, token.removeprefix(_BOM) if number == 1 else token, values
    # A whole line says that its last number is whole.
    if form.count is not None and num_rows < form.count and not line.endswith(b"\n"):
        raise _wrong_count(path, f"{num_rows} vectors", form.count)


def _split_oddly_spaced(path: Path, number: int, line: bytes, form: Form) -> tuple[bytes, bytes]:
    """Split a line that has other white space than one space before each value."""
    fields = line.split()
    token, values = fields[: -form.dim], fields[-form.dim :]
    # There are tokens like ". . .", but one that ends in a decimal is a line with a value too
    # many.
    if len(token) == 1 or (token and not _DECIMAL.fullmatch(token[-1])):
        return b" ".join(token), b" ".join(values)
    if line[:1].isspace() and _count_numbers(b"x " + line) == len(fields) == form.dim:
        return b"", b" ".join(values)  # the token was white space
    raise DataError(
        f"{path}, line {number}: {len(fields) - 1} values instead of {form.dim}: "
        "the file is damaged there or cut short, fetch it again or remove that line"
    )


def binary_rows(path: Path, stream: BinaryIO, form: Form) -> Iterator[Row]:
    """The rows of a word2vec binary file.

    Raises DataError if the file ends within a row.
    """
    stream.readline()
    size, count = 4 * form.dim, form.count or 0
    buffer, position = b"", 0
    for number in itertools.count(1):
        end = buffer.find(b" ", position)
        while end < 0 or len(buffer) <= end + size:
            if end < 0 and len(buffer) - position > _MAX_TOKEN_BYTES:
                raise DataError(
                    f"{path}, vector {number}: no token where one should be: "
                    "the file is damaged, fetch it again"
                )
            more = stream.read(_READ_BYTES)
            if not more:
                if buffer[position:].strip():
                    raise _wrong_count(path, f"{number - 1} whole vectors", count)
                return
            buffer, position = buffer[position:] + more, 0
            end = buffer.find(b" ")
        # Some writers end each row with a line break, some do not.
        yield number, buffer[position:end].lstrip(b"\n"), buffer[end + 1 : end + 1 + size]
        position = end + 1 + size


def _wrong_count(path: Path, found: str, count: int) -> DataError:
    return DataError(
        f"{path} holds {found} where its first line says {count}: "
        "it is damaged or cut short, fetch it again"
    )
