"""Pretrained word vectors from a file, streamed: memory follows our vocabulary, not the file.

The file may be plain or compressed with gz, bz2, xz or zip; its form is told by its content
(vector_rows.py).
"""

import io
import lzma
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from data_utils.cache import Progress
from data_utils.compression import decompressed
from data_utils.errors import DataError, one_line
from data_utils.vector_rows import HEAD_BYTES, Form, Row, binary_rows, detect_form, text_rows
from data_utils.vocabulary import Vocabulary

MISSING, FOLDED, EXACT = 0, 1, 2

_BUFFER_BYTES = 1 << 20
_ROWS_PER_REPORT = 10_000
_READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # zip: an unknown method
    RuntimeError,  # zip: a password
)


@dataclass(frozen=True)
class FileVectors:
    """What a file holds for our vocabulary."""

    vectors: NDArray[np.float32]  # (V, dim), zeros where missing
    matches: NDArray[np.uint8]  # (V,) MISSING, FOLDED or EXACT
    num_rows: int
    num_undecodable: int  # tokens that are not UTF-8, passed over
    num_blank: int  # rows without a token, passed over
    num_announced: int | None  # rows by the header, None without one

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the file, though all its rows are whole."""
        notes = []
        if self.num_announced not in (None, self.num_rows):
            notes.append(f"{self.num_announced:,} vectors announced, {self.num_rows:,} found")
        if self.num_blank:
            notes.append(f"{self.num_blank:,} rows without a token passed over")
        return tuple(notes)


def read_vectors(
    path: Path,
    vocabulary: Vocabulary,
    *,
    dim: int | None = None,
    progress: Progress | None = None,
) -> FileVectors:
    """Read the vectors of the vocabulary's tokens; ``dim`` is the width to insist on, if any.

    A token of the file is matched as it stands, else by its NFKC lower-cased form: "Madrid"
    serves our "madrid" unless the file has that too. The first of several wins.

    Every row must have as many values as the others, but only the rows kept are read further:
    a word among the numbers of another row goes unnoticed.

    Raises DataError, with the line or row where there is one, if the file cannot be read, is
    empty, damaged, cut within a row or no file of word vectors; if its width is not ``dim``; if a
    row has another number of values, or a kept one a value that is no finite number.
    """
    form = _form(path, dim)
    reader = _Reader(path, vocabulary, form)
    with _open(path) as (file, stream):
        size = max(os.fstat(file.fileno()).st_size, 1)
        rows = (binary_rows if form.binary else text_rows)(path, stream, form)
        for number, token, values in _guarded(path, rows):
            reader.add(number, token, values)
            if progress is not None and number % _ROWS_PER_REPORT == 0:
                progress(f"reading {path.name}", min(file.tell() / size, 1.0))
    found = reader.found()
    if progress is not None and found.notes:
        progress(f"{path.name}: {'; '.join(found.notes)}", None)
    return found


def width_in(path: Path, dim: int | None = None) -> int:
    """The width of the vectors in a file, by its head; ``dim`` is that to insist on, if any.

    Raises DataError as ``read_vectors`` does, as far as the head shows it.
    """
    return _form(path, dim).dim


def _form(path: Path, dim: int | None) -> Form:
    with _open(path) as (_, stream):
        form = detect_form(path, _read_head(path, stream))
    check_width(path, form.dim, dim)
    return form


def check_width(path: Path, width: int, dim: int | None) -> None:
    """Raise DataError if a width is asked for and the file has another."""
    if dim is not None and width != dim:
        raise DataError(
            f"{path} holds vectors of width {width}, not {dim}: ask for {width}, or for none"
        )


def describe_read_error(path: Path, error: Exception) -> str:
    """One line for what kept a file from being read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist: check the path given for the word vectors"
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be read ({error.strerror}): give a file of word vectors"
    return f"{path} is damaged or cut short ({one_line(error)}): fetch it again"


class _Reader:
    """Keeps the vectors of our tokens from the rows it is given."""

    def __init__(self, path: Path, vocabulary: Vocabulary, form: Form) -> None:
        self._path = path
        self._form = form
        self._ids = {token.encode(): index for token, index in vocabulary.ids.items()}
        self.vectors = np.zeros((len(vocabulary), form.dim), dtype=np.float32)
        self.matches = np.zeros(len(vocabulary), dtype=np.uint8)
        self.num_rows = 0
        self.num_undecodable = 0
        self.num_blank = 0

    def found(self) -> FileVectors:
        return FileVectors(
            self.vectors,
            self.matches,
            self.num_rows,
            self.num_undecodable,
            self.num_blank,
            self._form.count,
        )

    def add(self, number: int, token: bytes, values: bytes) -> None:
        self.num_rows += 1
        if not token:
            self.num_blank += 1
            return
        index, match = self._ids.get(token), EXACT
        if index is None:
            index, match = self._ids.get(self._fold(token)), FOLDED
        if index is None or self.matches[index] >= match:
            return
        self.vectors[index] = self._parse(number, token, values)
        self.matches[index] = match

    def _fold(self, token: bytes) -> bytes:
        if token.isascii():
            return token.lower()
        try:
            text = token.decode()
        except UnicodeDecodeError:
            self.num_undecodable += 1
            return b""
        return unicodedata.normalize("NFKC", text).lower().encode()

    def _parse(self, number: int, token: bytes, values: bytes) -> NDArray[np.float32]:
        place = (
            f"{self._path}, {self._form.place(number)} ({token[:40].decode('utf-8', 'replace')})"
        )
        if self._form.binary:
            vector = np.frombuffer(values, dtype="<f4")
        else:
            try:
                with np.errstate(over="ignore"):  # 1e99 becomes infinite and is refused as such
                    vector = np.array(values.split(), dtype=np.float32)
            except ValueError as error:
                raise DataError(f"{place}: {one_line(error)}: mend or remove that line") from error
        if not np.isfinite(vector).all():
            raise DataError(f"{place}: a value is not finite: mend or remove that vector")
        return vector


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The file, for the progress made, and its decompressed content."""
    with ExitStack() as stack:
        try:
            file: BinaryIO = stack.enter_context(path.open("rb", buffering=_BUFFER_BYTES))
            magic = file.read(6)
            file.seek(0)
            stream = _decompressed(path, file, magic)
        except _READ_ERRORS as error:
            raise DataError(describe_read_error(path, error)) from error
        yield file, stream


def _decompressed(path: Path, file: BinaryIO, magic: bytes) -> BinaryIO:
    if not magic.startswith(b"PK\x03\x04"):
        return decompressed(file, magic)
    archive = zipfile.ZipFile(file)
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} files: unpack it and give one of them")
    # Its own readline is written in Python, this one is not.
    raw = cast(io.RawIOBase, archive.open(names[0]))
    return cast(BinaryIO, io.BufferedReader(raw, _BUFFER_BYTES))


def _read_head(path: Path, stream: BinaryIO) -> bytes:
    try:
        return stream.read(HEAD_BYTES)
    except _READ_ERRORS as error:
        raise DataError(describe_read_error(path, error)) from error


def _guarded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, with what fails in reading them, and only that, as DataError."""
    try:
        yield from rows
    except _READ_ERRORS as error:
        raise DataError(describe_read_error(path, error)) from error
