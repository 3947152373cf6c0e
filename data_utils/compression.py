"""Decompressed bytes of gz, bz2 and xz files, all their streams to the last byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 1 << 20


def decompressed(file: BinaryIO, magic: bytes) -> io.BufferedReader:
    """The content of an open file that begins with ``magic``; the file itself if it is plain.

    Reading raises what the codecs raise on damage (EOFError, OSError, zlib.error, LZMAError).
    """
    raw: object
    if magic.startswith(b"\x1f\x8b"):
        raw = gzip.GzipFile(fileobj=file)  # refuses what is neither a member nor zeros
    elif magic.startswith(b"BZh"):
        raw = _Streams(file, bz2.BZ2Decompressor)
    elif magic.startswith(b"\xfd7zXZ\x00"):
        raw = _Streams(file, lzma.LZMADecompressor)
    else:
        return cast(io.BufferedReader, file)
    # Their own readline is written in Python, that of BufferedReader is not.
    return io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER_BYTES)


class _Streams(io.RawIOBase):
    """One stream after the other; BZ2File and LZMAFile end in silence where one is damaged.

    Zeros between and behind the streams are padding.
    """

    def __init__(
        self, file: BinaryIO, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._file = file
        self._new = new
        self._stream = new()
        self._rest = b""  # read, but not of the last stream
        self._is_between = False  # the last stream is over, the next has not begun

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        view = memoryview(target).cast("B")
        while True:
            if self._stream.eof:
                self._rest, self._is_between = self._stream.unused_data, True
                self._stream = self._new()
            data = b""
            if self._is_between or self._stream.needs_input:
                data = self._next()
                if not data:
                    return 0
            found = self._stream.decompress(data, len(view))
            if found:
                view[: len(found)] = found
                return len(found)

    def _next(self) -> bytes:
        """More compressed bytes, the padding before a stream left out; none at a whole end."""
        while True:
            data, self._rest = self._rest or self._file.read(_BUFFER_BYTES), b""
            if not data and not self._is_between:
                raise EOFError("it ends within a compressed stream")
            if not self._is_between or not data:
                return data
            if data := data.lstrip(b"\0"):
                self._is_between = False
                return data
