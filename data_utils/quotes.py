"""Where the records of a CSV file end, and quotes that quote nothing.

A quote at the start of a field opens it, and the field may then go on over many lines (RFC 4180).
But files are also written without any quoting, and titles may begin with a quote or an inch mark:
read by the rule, such a quote swallows the rows up to the next one. A quoted field over several
lines is taken for that if nothing closes it, or if its lines are whole rows, each by itself. The
stray quote is then quoted itself, so that whoever reads the bytes finds it as text.
"""

import csv
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_utils.records import MAX_FIELD_CHARACTERS, Layout

_WINDOW_BYTES = 4 * MAX_FIELD_CHARACTERS  # as many as that many characters can have
_BREAK = re.compile(rb"\r\n|\n|\r")
# From behind the opening quote to the closing one; two quotes stand for one.
_QUOTED = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
_MANY_LINES = 10  # of so many, half have to be whole rows; of fewer, all


@dataclass(frozen=True)
class Cut:
    """Whole records: ``data``, their stray quotes quoted, from the first ``end`` bytes read.

    ``strays`` are the places in the bytes read where records with a stray quote begin; ``joined``
    those of records over several lines, with the number of lines after the first.
    """

    data: bytes
    end: int
    strays: tuple[int, ...] = ()
    joined: tuple[tuple[int, int], ...] = ()


def cut_records(data: bytes, layout: Layout, *, at_end: bool) -> Cut:
    """The whole records at the beginning of ``data``, which begins with a record.

    ``at_end`` says that nothing follows ``data``.
    """
    end = len(data) if at_end else last_break(data, 0)
    if not end or b'"' not in data:
        return Cut(data[:end], end)
    quick = _quick_end(data, layout.delimiter, at_end=at_end)
    if quick is not None:
        return Cut(data[:quick], quick)
    return _Scan(data, layout, at_end=at_end).cut()


def last_break(data: bytes, start: int) -> int:
    """The end of the last whole line of ``data[start:]``; ``start`` if there is none."""
    end = data.rfind(b"\n", start) + 1
    # What follows a carriage return at the very end is not known yet.
    return end or data.rfind(b"\r", start, max(len(data) - 1, start)) + 1 or start


def count_lines(data: bytes, start: int, end: int) -> int:
    """How many lines end there, in a line feed, a carriage return or both."""
    returns = data.count(b"\r", start, end)
    if returns:
        returns -= data.count(b"\r\n", start, end)
    return data.count(b"\n", start, end) + returns


def uses_quotes(data: bytes, delimiter: str) -> bool:
    """Whether any line of ``data`` has a field in quotes."""
    edge = b"[\r\n" + re.escape(delimiter.encode()) + b"]"
    pattern = b"(?:^|" + edge + b')"(?:[^"\r\n]|"")*+"' + edge
    return re.search(pattern, data) is not None


def _quick_end(data: bytes, delimiter: str, *, at_end: bool) -> int | None:
    """The same end, where every quote stands as it should and no field goes on over a line."""
    characters = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    if not _is_well_quoted(characters, quotes, delimiter):
        return None
    is_break = characters == ord("\n")
    if b"\r" in data:
        is_break |= characters == ord("\r")
    breaks = np.flatnonzero(is_break)
    is_open = len(quotes) % 2 == 1  # the last field is cut
    limit = int(quotes[-1]) if is_open else len(data)
    is_inside = np.searchsorted(quotes, breaks) % 2 == 1
    if is_inside[breaks < limit].any():
        return None
    if at_end:
        return None if is_open else len(data)
    return last_break(data[:limit], 0) or None


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


class _Scan:
    """Walks over the quotes of some data as the csv module does, and finds the stray ones."""

    def __init__(self, data: bytes, layout: Layout, *, at_end: bool) -> None:
        self._data = data
        self._layout = layout
        self._at_end = at_end
        self._edges = b"\r\n" + layout.delimiter.encode()
        self._edge = re.compile(b"[" + re.escape(self._edges) + b"]")
        # A comma in a text is followed by a space, one between fields is not.
        spaced = layout.skip_spaces or any(name.startswith(" ") for name in layout.header[1:])
        self._spaces_tell = layout.delimiter != "\t" and not spaced
        self._start = 0  # of the record
        self._strays: list[tuple[int, int, int]] = []  # record, quote, end of its field
        self._joined: list[tuple[int, int]] = []

    def cut(self) -> Cut:
        end = self._walk()
        pieces, done = [], 0
        strays = [stray for stray in self._strays if stray[0] < end]
        for _, quote, field_end in strays:
            pieces += [self._data[done:quote], _quoted(self._data[quote:field_end])]
            done = field_end
        pieces.append(self._data[done:end])
        return Cut(
            b"".join(pieces),
            end,
            strays=tuple(dict.fromkeys(stray[0] for stray in strays)),
            joined=tuple(joined for joined in self._joined if joined[0] < end),
        )

    def _walk(self) -> int:
        """Find the stray quotes; returns the end of the last whole record."""
        data, position = self._data, 0
        while True:
            quote = data.find(b'"', position)
            if quote < 0:
                end = last_break(data, position)
                if self._at_end:
                    return len(data)
                return end if end > position else self._start
            line_end = max(data.rfind(b"\n", position, quote), data.rfind(b"\r", position, quote))
            self._start = line_end + 1 or self._start
            if not self._opens(quote):
                position = quote + 1
                continue
            after = self._close(quote)
            if after is None:
                return self._start
            position = after

    def _opens(self, quote: int) -> bool:
        """Whether the quote stands at the start of a field."""
        before = quote - 1
        if self._layout.skip_spaces:
            while before >= 0 and self._data[before] == ord(" "):
                before -= 1
        return before < 0 or self._data[before] in self._edges

    def _close(self, quote: int) -> int | None:
        """Where to go on behind the field that the quote opens; None if more has to be read."""
        data = self._data
        match = _QUOTED.match(data, quote + 1, quote + 1 + _WINDOW_BYTES)
        is_whole = self._at_end or len(data) > quote + 1 + _WINDOW_BYTES
        if not is_whole and (match is None or match.end() == len(data)):
            return None
        line = _BREAK.search(data, quote)
        if match is not None and (line is None or match.end() <= line.start()):
            return match.end()
        if line is None:
            return len(data) if self._at_end else None
        if match is not None and not _is_too_long(data, quote, match.end()):
            end = _BREAK.search(data, match.end())
            if end is None and not self._at_end:
                return None
            if not self._is_stray(quote, line, match.end(), end.start() if end else len(data)):
                self._joined.append((self._start, count_lines(data, quote, match.end())))
                return match.end()
        edge = self._edge.search(data, quote)
        field_end = edge.start() if edge else len(data)
        self._strays.append((self._start, quote, field_end))
        return field_end

    def _is_stray(self, quote: int, line: re.Match[bytes], close: int, end: int) -> bool:
        """Whether the lines of a field over several of them are rows, each by itself."""
        data = self._data
        edge = self._edge.search(data, quote)
        field_end = edge.start() if edge else len(data)
        first = data[self._start : quote] + _quoted(data[quote:field_end])
        first += data[field_end : line.start()]
        lines = _BREAK.split(data[line.end() : end])
        if not self._is_row(first) and len(lines) < _MANY_LINES:
            return False
        others = [self._is_row(text) for text in lines if text]
        num_rows, num_lines = self._is_row(first) + sum(others), 1 + len(others)
        if num_rows < num_lines and (num_lines < _MANY_LINES or 2 * num_rows < num_lines):
            return False
        # Of two lines chance alone may make rows, where titles hold the delimiter: a file that
        # is known to quote is believed, unless text follows the quote that should close.
        is_closed = data[close : close + 1] in (b"", b"\r", b"\n", self._layout.delimiter.encode())
        return num_lines > 2 or not (self._layout.quotes and is_closed)

    def _is_row(self, line: bytes) -> bool:
        """Whether a line is a row by itself, as CSV or with all its quotes as text."""
        text, layout = line.decode("latin-1"), self._layout
        reader = csv.reader(
            [text], delimiter=layout.delimiter, skipinitialspace=layout.skip_spaces
        )
        try:
            fields = next(reader, [])
        except csv.Error:
            fields = []
        return self._are_fields(fields) or self._are_fields(text.split(layout.delimiter))

    def _are_fields(self, fields: list[str]) -> bool:
        if len(fields) != len(self._layout.header):
            return False
        return not (self._spaces_tell and any(field.startswith(" ") for field in fields[1:]))


def _quoted(field: bytes) -> bytes:
    return b'"' + field.replace(b'"', b'""') + b'"'


def _is_too_long(data: bytes, quote: int, end: int) -> bool:
    """Whether the csv module would refuse the field, and go on somewhere within it."""
    if end - quote <= MAX_FIELD_CHARACTERS:
        return False
    return len(data[quote:end].decode("utf-8", "replace")) > MAX_FIELD_CHARACTERS
