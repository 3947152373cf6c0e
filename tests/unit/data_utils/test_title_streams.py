"""Titles to predict: read as training reads them, a title for each row."""

import io
import sys

import pytest

from data_utils import DataError
from data_utils.title_streams import Oddities, read_titles


def _read(path, data, column=None):
    path.write_bytes(data)
    oddities = Oddities()
    return list(read_titles(path, column=column, oddities=oddities)), oddities


def test_a_stray_quote_costs_no_title(tmp_path):
    data = b'title\tid\n"24 pulgadas monitor\t1\nsilla\t2\nlampara 24"\t3\ntaladro\t4\n'
    titles, oddities = _read(tmp_path / "t.tsv", data)
    assert titles == ['"24 pulgadas monitor', "silla", 'lampara 24"', "taladro"]
    assert str(oddities) == "1 with a stray quote, read as text"


@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_lines_may_end_in_carriage_returns(tmp_path, name):
    data = b"title,id\rmesa,1\rgato,2\r" if name == "t.csv" else b"mesa\rgato\r"
    assert _read(tmp_path / name, data)[0] == ["mesa", "gato"]


@pytest.mark.parametrize(
    "data",
    [
        b'"title","a\nb"\nmesa,1\ngato,2\n',
        b"title, id\nmesa, 1\ngato, 2\n",
        b"sep=;\ntitle;id\nmesa;1\ngato;2\n",
        b"title,id\nmesa,1\ntitle,id\ngato,2\n",
    ],
)
def test_the_header_is_read_as_in_training(tmp_path, data):
    assert _read(tmp_path / "t.csv", data)[0] == ["mesa", "gato"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"# exported\ntitle,id\nmesa,1\n", "the header seems to be line 2"),
        (b"title,title\nmesa,1\n", "has 2 columns 'title'"),
        (b"mesa,A\ngato,A\n", "looks like a row"),
    ],
)
def test_what_is_no_header_is_said_as_in_training(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        _read(tmp_path / "t.csv", data)


def test_a_title_is_cut_by_characters_and_not_at_exactly_as_many(tmp_path):
    lines = ["é" * 70_000, "é" * 131_072, "é" * 131_073, "x"]
    titles, oddities = _read(tmp_path / "t.txt", "\n".join(lines).encode())
    assert [len(title) for title in titles] == [70_000, 131_072, 131_072, 1]
    assert (oddities.cut, oddities.not_utf8) == (1, 0)


def test_titles_of_a_pipe_come_before_it_ends(monkeypatch):
    class Pipe(io.RawIOBase):
        """Gives a line at a time, and notes how many have been asked for."""

        def __init__(self):
            self.given = 0

        def readable(self):
            return True

        def readinto(self, target):
            if self.given == 50:
                return 0
            line = b"title,id\n" if not self.given else b"mesa %02d,1\n" % self.given
            self.given += 1
            target[: len(line)] = line
            return len(line)

    pipe = Pipe()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(pipe)))
    titles = read_titles(None, column="title", oddities=Oddities())
    assert next(titles) == "mesa 01" and pipe.given < 10
    assert list(titles)[-1] == "mesa 49"
