"""The first lines of a CSV file."""

import pytest

from data_utils import DataError, DataSpec
from data_utils.parsing import parse_block
from data_utils.sources import open_source

ROWS = [("mesa roja", "A"), ("gato negro", "B"), ("silla", "A")]


def _read(path, data, **options):
    path.write_bytes(data)
    found, rejects = [], {}
    for part in open_source(DataSpec(source=str(path), **options)).parts:
        for block in part.blocks():
            rows = parse_block(part.layout, block)
            found += zip(rows.titles, rows.labels, strict=True)
            rejects |= rows.rejects
    return found, rejects


def _body(delimiter=",", end="\n"):
    return "".join(f"{title}{delimiter}{label}{end}" for title, label in ROWS)


@pytest.mark.parametrize(
    "text",
    [
        "title, category\n" + _body(", "),
        "title ,category\n" + _body(),
        '"title", "category"\n' + "".join(f'"{t}", "{c}"\n' for t, c in ROWS),
        "sep=;\ntitle;category\n" + _body(";"),
        '"sep=,"\r\ntitle,category\r\n' + _body(",", "\r\n"),
        "\n\ntitle,category\n" + _body(),
        "title,category\r" + _body(",", "\r"),
        "title,category\r" + _body(",", "\r\n"),
        "title,category\r\n" + _body(",", "\r"),
    ],
    ids=["space", "space before", "quotes", "sep", "sep in quotes", "blank", "cr", "cr header",
         "cr rows"],
)  # fmt: skip
def test_the_header_is_found_and_no_row_lost(tmp_path, text):
    assert _read(tmp_path / "t.csv", text.encode()) == (ROWS, {})


def test_quoted_fields_after_spaces_may_hold_delimiters_and_line_breaks(tmp_path):
    text = b'"title", "category"\n"mesa, grande", "A"\n"gato\nnegro", "B"\n"silla", "A"\n'
    rows, rejects = _read(tmp_path / "t.csv", text)
    assert rows == [("mesa, grande", "A"), ("gato\nnegro", "B"), ("silla", "A")]
    assert rejects == {}


def test_more_than_a_block_of_lines_that_end_in_carriage_returns_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 1 << 16)
    rows = [(f"silla {index}", f"C{index % 3}") for index in range(100_000)]
    data = "title,category\r" + "".join(f"{t},{c}\r" for t, c in rows)
    assert _read(tmp_path / "t.csv", data.encode()) == (rows, {})


def test_a_name_with_a_space_may_be_asked_for(tmp_path):
    data = b"title, category\nmesa, A\n"
    assert _read(tmp_path / "t.csv", data, label_column=" category")[0] == [("mesa", " A")]


def test_the_headers_of_concatenated_parts_are_left_out_and_counted(tmp_path):
    part = "title,category\n" + _body()
    found, rejects = _read(tmp_path / "t.csv", (part + part + "\ufeff" + part).encode())
    assert found == ROWS * 3
    assert rejects == {"header repeated": (2, 5)}


def test_a_category_that_is_named_as_its_column_is_one(tmp_path):
    data = b"title,category\nmesa,category\ngato,B\n"
    assert _read(tmp_path / "t.csv", data) == ([("mesa", "category"), ("gato", "B")], {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"title,category,category\na,b,c\n", "has 2 columns 'category'"),
        (b"title,title,category\n,a,b\n", "has 2 columns 'title'"),
        (b"title,category, category\na,b,c\n", None),
        (b"# exported 2024\ntitle,category\na,b\n", "the header seems to be line 2"),
        (b"mesa,A\ngato,B\nsilla,A\n", "looks like a row: a header is needed"),
        (b"__label__A mesa\n__label__B gato\n", "the form of fastText"),
        (b"name,kind\nmesa,A\n", "it has name, kind; choose with --text-column"),
        (b"title,category" + b",x" * 600_000 + b"\n", "over 1 MB long"),
    ],
)
def test_what_is_no_header_is_said(tmp_path, data, message):
    if message is None:
        assert _read(tmp_path / "t.csv", data)[0] == [("a", "b")]
        return
    with pytest.raises(DataError, match=message):
        _read(tmp_path / "t.csv", data)


def test_an_empty_name_of_a_column_is_no_default(tmp_path):
    with pytest.raises(DataError, match="has no column ''"):
        _read(tmp_path / "t.csv", b"title,category\na,b\n", text_column="")
