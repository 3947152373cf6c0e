"""Files of several compressed streams, whole and damaged."""

import bz2
import gzip
import lzma

import pytest

from data_utils import DataError, DataSpec
from data_utils.parsing import parse_block
from data_utils.sources import open_source
from data_utils.title_streams import Oddities, read_titles
from data_utils.vector_files import read_vectors
from data_utils.vocabulary import Vocabulary

COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PARTS = [
    b"title,category\n" + b"".join(b"silla %d,A\n" % n for n in range(1000)),
    b"".join(b"mesa %d,B\n" % n for n in range(1000)),
    b"".join(b"gato %d,C\n" % n for n in range(1000)),
]


def _count(path):
    [part] = open_source(DataSpec(source=str(path))).parts
    return sum(len(parse_block(part.layout, block).titles) for block in part.blocks())


def _predicted(path):
    return sum(1 for _ in read_titles(path, column=None, oddities=Oddities()))


def _damaged(kind):
    streams = [COMPRESS[kind](part) for part in PARTS]
    yield streams[0] + b"X" + streams[1][1:] + streams[2]
    yield streams[0] + streams[1][:-5]
    yield streams[0] + streams[1] + b"and more"
    yield streams[0] + streams[1][: len(streams[1]) // 2] + b"????" + streams[2]


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("count", [_count, _predicted])
@pytest.mark.parametrize("padding", [b"", bytes(512)])
def test_all_streams_are_read(tmp_path, kind, count, padding):
    streams = [COMPRESS[kind](part) for part in PARTS]
    between = padding if kind == "xz" else b""
    path = tmp_path / "t.csv"
    path.write_bytes(between.join(streams) + padding)
    assert count(path) == 3000


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("count", [_count, _predicted])
def test_a_damaged_later_stream_is_said(tmp_path, kind, count, number):
    path = tmp_path / "t.csv"
    path.write_bytes(list(_damaged(kind))[number])
    with pytest.raises(DataError, match="damaged"):
        count(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_damaged_later_stream_of_word_vectors_is_said(tmp_path, kind):
    lines = b"".join(b"word%d 0.5 0.25 0.125\n" % n for n in range(500))
    compress = COMPRESS[kind]
    path = tmp_path / "vectors"
    path.write_bytes(compress(lines) + b"X" + compress(lines)[1:])
    with pytest.raises(DataError, match="damaged"):
        read_vectors(path, Vocabulary(["word1"]))
    path.write_bytes(compress(lines) + compress(lines))
    assert read_vectors(path, Vocabulary(["word1"])).num_rows == 1000
