"""Labels and titles that are no text in their file: Parquet and JSON lines."""

import datetime
import json
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest

from data_utils import DataError, DataSpec
from data_utils.parsing import parse_block
from data_utils.sources import open_source
from data_utils.title_streams import Oddities, read_titles

TITLES = ["mesa", "gato", "silla"]


def _read(path, **options):
    found, rejects, is_new = [], {}, False
    for part in open_source(DataSpec(source=str(path), **options)).parts:
        for block in part.blocks():
            rows = parse_block(part.layout, block)
            found += zip(rows.titles, rows.labels, strict=True)
            rejects |= rows.rejects
            is_new |= rows.is_new
    return found, rejects, is_new


def _predicted(path, column=None):
    oddities = Oddities()
    return list(read_titles(path, column=column, oddities=oddities)), oddities


def _write(path, titles, labels):
    table = {"title": titles, "category": labels}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pyarrow.array([0.0, 1.0, None]), ["0", "1"]),
        (pyarrow.array([0.0, 1.0, float("nan")]), ["0", "1"]),
        (pyarrow.array([True, False, None]), ["true", "false"]),
        (pyarrow.array([Decimal("1.00"), Decimal("2.50"), None]), ["1", "2.5"]),
        (pyarrow.array([Decimal("100"), Decimal("-2.5"), None]), ["100", "-2.5"]),
        (pyarrow.array([b"A", "ñ".encode(), None]), ["A", "ñ"]),
        (pyarrow.array([b"A", b"B", None], pyarrow.large_binary()), ["A", "B"]),
        (pyarrow.array([b"A", b"B", None]).dictionary_encode(), ["A", "B"]),
        (pyarrow.array(["A", "B", None], pyarrow.string_view()), ["A", "B"]),
        (
            pyarrow.array([datetime.date(2024, 1, 5), datetime.date(2024, 1, 6), None]),
            ["2024-01-05", "2024-01-06"],
        ),
        (  # a year of which Python knows nothing
            pyarrow.array([0, 5_000_000, None], pyarrow.int32()).view(pyarrow.date32()),
            ["1970-01-01", "15659-07-15"],
        ),
    ],
    ids=str,
)
def test_labels_of_parquet_become_text(tmp_path, labels, expected):
    found, rejects, _ = _read(_write(tmp_path / "t.parquet", TITLES, labels))
    assert found == list(zip(TITLES, expected, strict=False))
    assert rejects == {"no label": (1, 3)}


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.string(), pyarrow.large_string()])
def test_text_that_is_not_utf8_is_counted_in_parquet(tmp_path, kind):
    large = pyarrow.types.is_large_string(kind)
    data = pyarrow.array(
        [b"mesa", b"ni\xf1o", "niño".encode(), None],
        pyarrow.large_binary() if large else pyarrow.binary(),
    )
    path = _write(tmp_path / "t.parquet", data.view(kind), ["A", "B", "C", "D"])
    found, rejects, _ = _read(path)
    assert found == [("mesa", "A"), ("niño", "C")]
    assert rejects == {"not UTF-8": (1, 2), "no title": (1, 4)}
    titles, oddities = _predicted(path)
    assert titles == ["mesa", "ni\N{REPLACEMENT CHARACTER}o", "niño", ""]
    assert (oddities.not_utf8, oddities.unreadable) == (1, 1)
    labels = _write(tmp_path / "l.parquet", ["a", "b", "c", "d"], data.view(kind))
    assert [label for _, label in _read(labels)[0]] == ["mesa", "niño"]


def test_what_no_label_can_be_is_named_by_its_type(tmp_path):
    path = _write(tmp_path / "t.parquet", TITLES, pyarrow.array([[b"\xff"], None, [b"a"]]))
    assert _read(path)[1] == {
        "label is neither text nor a whole number (list)": (2, 1),
        "no label": (1, 2),
    }


def test_labels_of_json_lines_become_text(tmp_path):
    path = tmp_path / "t.jsonl"
    labels = [1.0, 2, "3", True, False, 1e20]
    path.write_text("".join(json.dumps({"title": "x", "category": c}) + "\n" for c in labels))
    found, rejects, is_new = _read(path)
    assert [label for _, label in found] == ["1", "2", "3", "true", "false", str(10**20)]
    assert (rejects, is_new) == ({}, True)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    table = pyarrow.Table.from_arrays(
        [pyarrow.array(TITLES)] * 3, names=["title", "category", "category"]
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has 2 columns 'category': rename"):
        _read(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has 2 columns 'category': rename"):
        _predicted(tmp_path / "t.parquet", "category")


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_json_lines_may_name_a_column_further_down(tmp_path):
    rows = [{"title": "x"}] * 30_000 + [{"title": "mesa", "category": "A"}] * 2
    found, rejects, _ = _read(_lines(tmp_path / "t.jsonl", rows))
    assert found == [("mesa", "A")] * 2
    assert rejects == {"no label": (30_000, 1)}
    titles, oddities = _predicted(_lines(tmp_path / "p.jsonl", [{"id": 1}] * 3 + rows[-1:]))
    assert titles == ["", "", "", "mesa"] and oddities.unreadable == 3


def test_json_lines_of_which_none_has_the_column_are_refused(tmp_path):
    path = _lines(tmp_path / "t.jsonl", [{"id": 1, "title": "x"}] * 200)
    with pytest.raises(DataError, match="no column 'category': it has id, title; choose with"):
        _read(path)
    with pytest.raises(DataError, match="no column 'name': it has id, title; choose with"):
        _predicted(path, "name")


@pytest.mark.parametrize("titles", [[1, 2, 3], [None, None, None]])
def test_a_file_without_any_title_to_predict_is_refused(tmp_path, titles):
    path = _write(tmp_path / "t.parquet", pyarrow.array(titles, pyarrow.int8()), TITLES)
    with pytest.raises(DataError, match="none of the 3 rows .* column 'title'"):
        _predicted(path)
