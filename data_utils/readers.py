"""Bytes of a file, decompressed and cut into blocks of whole records."""

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from data_utils.compression import decompressed
from data_utils.errors import DataError
from data_utils.quotes import Cut, count_lines, cut_records, last_break
from data_utils.records import JOINED, STRAY_QUOTE, Block, Layout

BLOCK_BYTES = 4 << 20
_LONGEST_RECORD_BYTES = 64 << 20
_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_CONTAINERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\xff\xfe": "in UTF-16",
    b"\xfe\xff": "in UTF-16",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a missing, unreadable or damaged file raises into DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path given as data") from error
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is damaged or cut short ({error}): fetch or write it again"
        ) from error
    except OSError as error:
        # bz2 says "Invalid data stream" with an OSError that has no errno.
        reason = error.strerror or f"damaged: {error}"
        raise DataError(f"{path} cannot be read ({reason})") from error


@contextmanager
def open_decompressed(path: Path) -> Iterator[tuple[io.BufferedReader, io.BufferedReader]]:
    """The decompressed stream and, for the progress made, the file below it.

    gz, bz2 and xz are known by their first bytes, not by the name. A UTF-8 byte order mark is
    skipped. Raises DataError if the file is missing, empty, damaged or of another kind.
    """
    with reading(path), path.open("rb") as file:
        magic = file.peek(16)[:16]
        if not magic:
            raise DataError(f"{path} is empty: it has no header and no rows")
        stream = decompressed(file, magic)
        head = stream.peek(16)[:16]
        if not head:
            raise DataError(f"{path} is empty inside its compression: it has no rows")
        refuse_other_forms(path, head)
        skip_mark(stream)
        yield stream, file


def skip_mark(stream: io.BufferedReader) -> None:
    """Go behind the UTF-8 byte order mark at the beginning of a stream."""
    if stream.peek(len(_UTF8_BOM)).startswith(_UTF8_BOM):
        stream.read(len(_UTF8_BOM))


def refuse_other_forms(path: Path, head: bytes) -> None:
    """Raise DataError if the first bytes are those of a form that is not read here."""
    for prefix, kind in _OTHER_CONTAINERS.items():
        if head.startswith(prefix):
            raise DataError(
                f"{path} is {kind}: give CSV, JSON lines or Parquet, in UTF-8, "
                "plain or compressed with gz, bz2 or xz"
            )


def cut_blocks(path: Path, layout: Layout, *, skip_bytes: int, first_line: int) -> Iterator[Block]:
    """Blocks of whole lines, of CSV whole records, of a file.

    ``skip_bytes`` is the length of the header, ``first_line`` the number of the line after it.
    """
    size = max(path.stat().st_size, 1)
    with open_decompressed(path) as (stream, file):
        stream.read(skip_bytes)
        for block in cut_stream(path, stream.read, layout, first_line=first_line):
            yield replace(block, fraction=min(file.tell() / size, 1.0))


def cut_stream(
    path: Path, read: Callable[[int], bytes], layout: Layout, *, first_line: int, head: bytes = b""
) -> Iterator[Block]:
    """The same of what is left of a stream, ``head`` before it; ``read`` gives its next bytes.

    Raises DataError for a row that is longer than any row of a table of titles.
    """
    rest, new = head, b""
    while True:
        new = read(BLOCK_BYTES)
        data = rest + new
        if layout.kind == "csv":
            cut = cut_records(data, layout, at_end=not new)
        else:
            end = last_break(data, 0) if new else len(data)
            cut = Cut(data[:end], end)
        if cut.end:
            yield Block(cut.data, first_line, 1.0, _oddities(data, cut, first_line))
            first_line += count_lines(data, 0, cut.end)
        if not new:
            return
        rest = data[cut.end :]
        if len(rest) > _LONGEST_RECORD_BYTES:
            raise DataError(
                f"{path}, line {first_line}: a row longer than "
                f"{_LONGEST_RECORD_BYTES >> 20} MB: is this a table of titles?"
            )


def _oddities(data: bytes, cut: Cut, first_line: int) -> dict[str, tuple[int, int]]:
    found = {}
    if cut.strays:
        line = first_line + count_lines(data, 0, cut.strays[0])
        found[STRAY_QUOTE] = (len(cut.strays), line)
    if cut.joined:
        line = first_line + count_lines(data, 0, cut.joined[0][0])
        found[JOINED] = (sum(count for _, count in cut.joined), line)
    return found
