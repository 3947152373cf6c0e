#!/usr/bin/env bash
# Python reads a bz2 or xz file of several streams as if it ended where a later one is damaged.
#
# Guess: a damaged byte in a compressed file raises an error, as it does for gzip.
# Seen (CPython 3.11 to 3.13): the first byte of the second of three streams is wrong. bz2.open and
# lzma.open give the first stream and then a regular end of file; gzip.open raises BadGzipFile. What
# begins like no stream counts as garbage behind the file, which is passed over in silence.
# Why it matters: pbzip2, lbzip2, xz -T and "cat a.xz b.xz" write many streams, so a corpus of a
# thousand streams with one damaged byte is read as a corpus of one, and nothing tells.
set -euo pipefail
python3 - <<'PYTHON'
import bz2
import gzip
import io
import lzma
import sys


def read(module):
    streams = [module.compress(f"row {number}\n".encode() * 1_000) for number in range(3)]
    streams[1] = bytes([streams[1][0] ^ 0xFF]) + streams[1][1:]
    try:
        with module.open(io.BytesIO(b"".join(streams))) as file:
            return f"{len(file.readlines()):,} of 3,000 rows, no error"
    except (OSError, EOFError) as error:
        return type(error).__name__


print("Python", sys.version.split()[0])
outcomes = {module.__name__: read(module) for module in (bz2, lzma, gzip)}
for name, outcome in outcomes.items():
    print(f"{name:5} {outcome}")
assert outcomes == {
    "bz2": "1,000 of 3,000 rows, no error",
    "lzma": "1,000 of 3,000 rows, no error",
    "gzip": "BadGzipFile",
}
PYTHON
