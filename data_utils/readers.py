"""Bytes of a file, decompressed and cut into blocks of whole records."""

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError
from data_utils.parsing import Block

BLOCK_BYTES = 4 << 20
_LONGEST_RECORD_BYTES = 64 << 20
_DOUBTFUL_RECORD_BYTES = 1 << 20  # an open quote of this length is looked at more closely
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
def open_decompressed(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The decompressed stream and, for the progress made, the file below it.

    gz, bz2 and xz are known by their first bytes, not by the name. A UTF-8 byte order mark is
    skipped. Raises DataError if the file is missing, empty, damaged or of another kind.
    """
    with reading(path), path.open("rb") as file:
        magic = file.read(16)
        if not magic:
            raise DataError(f"{path} is empty: it has no header and no rows")
        file.seek(0)
        stream = decompressor(magic)(file)
        head = stream.read(16)
        if not head:
            raise DataError(f"{path} is empty inside its compression: it has no rows")
        refuse_other_forms(path, head)
        stream.seek(len(_UTF8_BOM) if head.startswith(_UTF8_BOM) else 0)
        yield stream, file


def refuse_other_forms(path: Path, head: bytes) -> None:
    """Raise DataError if the first bytes are those of a form that is not read here."""
    for prefix, kind in _OTHER_CONTAINERS.items():
        if head.startswith(prefix):
            raise DataError(
                f"{path} is {kind}: give CSV, JSON lines or Parquet, in UTF-8, "
                "plain or compressed with gz, bz2 or xz"
            )


def decompressor(magic: bytes) -> Callable[[BinaryIO], BinaryIO]:
    """What makes the decompressed stream of a file that begins with ``magic``."""
    if magic.startswith(b"\x1f\x8b"):
        return lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if magic.startswith(b"BZh"):
        return lambda file: cast(BinaryIO, bz2.BZ2File(file))
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lambda file: cast(BinaryIO, lzma.LZMAFile(file))
    return lambda file: file


def cut_blocks(
    path: Path, *, skip_bytes: int, first_line: int, delimiter: str | None
) -> Iterator[Block]:
    """Blocks of whole lines, or of whole CSV records if there is a ``delimiter``.

    ``skip_bytes`` is the length of the header, ``first_line`` the number of the line after it.
    """
    size = max(path.stat().st_size, 1)
    with open_decompressed(path) as (stream, file):
        stream.read(skip_bytes)
        rest = b""
        while True:
            new = stream.read(BLOCK_BYTES)
            data = rest + new
            end = len(data) if not new else _complete(data, delimiter)
            if end:
                yield Block(data[:end], first_line, min(file.tell() / size, 1.0))
                first_line += data.count(b"\n", 0, end)
            if not new:
                return
            rest = data[end:]
            if len(rest) > _LONGEST_RECORD_BYTES:
                raise DataError(
                    f"{path}, line {first_line}: a row longer than "
                    f"{_LONGEST_RECORD_BYTES >> 20} MB: is this a table of titles?"
                )


def _complete(data: bytes, delimiter: str | None) -> int:
    """The length of the part of ``data`` that holds whole records only."""
    end = data.rfind(b"\n") + 1
    if delimiter is None or not end or b'"' not in data:
        return end
    characters = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    if _is_well_quoted(characters, quotes, delimiter):
        breaks = np.flatnonzero(characters == ord("\n"))
        outside = breaks[np.searchsorted(quotes, breaks) % 2 == 0]  # of any quoted field
        end = int(outside[-1]) + 1 if len(outside) else 0
        if end or len(data) < _DOUBTFUL_RECORD_BYTES:
            return end
    return _complete_by_parsing(data, delimiter)


def _is_well_quoted(
    characters: NDArray[np.uint8], quotes: NDArray[np.int64], delimiter: str
) -> bool:
    """Whether quotes stand only where CSV has them, so that every second one closes a field."""
    beside = np.zeros(256, dtype=bool)
    beside[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = characters[opening[opening > 0] - 1]
    after = characters[closing[closing < len(characters) - 1] + 1]
    return bool(beside[before].all() and beside[after].all())


def _complete_by_parsing(data: bytes, delimiter: str) -> int:
    """The same, record by record: slow, but with stray quotes it cuts as the csv module reads."""
    lines = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    reader = csv.reader(lines, delimiter=delimiter)
    num_lines = before = 0
    while True:
        before = num_lines  # the last record may go on in the next block
        num_lines = reader.line_num
        try:
            next(reader)
        except StopIteration:
            break
        except csv.Error:
            continue
    lines.seek(0)
    return sum(len(lines.readline().encode("utf-8", "surrogateescape")) for _ in range(before))
