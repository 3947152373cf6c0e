"""Finding out what a source is; and sources that cannot be used at all."""

import bz2
import gzip
import json
import lzma

import pytest

from data_utils import DataError, DataSpec, prepare
from data_utils.sources import open_source


def _read(path, **options):
    """All usable (title, label) of a source, and its rejects."""
    from data_utils.parsing import parse_block

    found, rejects = [], {}
    for part in open_source(DataSpec(source=str(path), **options)).parts:
        for block in part.blocks():
            rows = parse_block(part.layout, block)
            found += zip(rows.titles, rows.labels, strict=True)
            rejects |= rows.rejects
    return found, rejects


PAIRS = [('mesa, "grande"', "A"), ("gato\nnegro", "B"), ("ñandú", "A")]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", ["comma", "tab", "semicolon", "crlf", "bom", "json"])
def test_each_form_is_read_under_each_compression(tmp_path, form, compress):
    import csv
    import io

    text = io.StringIO(newline="")
    delimiter = {"tab": "\t", "semicolon": ";"}.get(form, ",")
    writer = csv.writer(
        text, delimiter=delimiter, lineterminator="\r\n" if form == "crlf" else "\n"
    )
    writer.writerows([("category", "title"), *((label, title) for title, label in PAIRS)])
    data = text.getvalue().encode("utf-8-sig" if form == "bom" else "utf-8")
    if form == "json":
        data = b"".join(json.dumps({"title": t, "category": c}).encode() + b"\n" for t, c in PAIRS)
    # The compression is not in the name: the first bytes tell.
    path = tmp_path / ("t.jsonl" if form == "json" else "t.csv")
    path.write_bytes(compress(data))
    assert _read(path) == (PAIRS, {})


def test_parquet_is_read_with_its_two_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = {
        "name": ["mesa", None, "gato", "piso"],
        "other": [1, 2, 3, 4],
        "kind": [7, 8, None, 9],
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet", row_group_size=2)
    found, rejects = _read(tmp_path / "t.parquet", text_column="name", label_column="kind")
    assert found == [("mesa", "7"), ("piso", "9")]
    assert rejects == {"no title": (1, 2), "no label": (1, 3)}


def test_rows_are_chosen_by_language_and_label_quality(write_csv, rows):
    found, _ = _read(write_csv(rows), language="Spanish", label_quality="reliable")
    wanted = [(r[0], r[3]) for r in rows if r[1] == "reliable" and r[2] == "spanish"]
    assert found == wanted


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("t.csv", b"name,kind\na,b\n", "no column 'title': it has name, kind; .*--text-column"),
        ("t.csv", b"title,kind\na,b\n", "no column 'category'.*--label-column"),
        ("t.csv", "title,category\na,b\n".encode("utf-16"), "UTF-16"),
        ("t.csv", b"PK\x03\x04" + bytes(100), "zip archive or a spreadsheet"),
        ("t.csv", bytes(range(128, 256)) * 10, "no column 'title'"),
        (
            "t.csv.gz",
            gzip.compress(b"title,category\na,b\n" * 99, mtime=0)[:-9],
            "damaged or cut short",
        ),
        ("t.csv.gz", gzip.compress(bytes(99), mtime=0)[:12], "damaged or cut short"),
        ("t.csv.bz2", bz2.compress(b"title,category\na,b\n" * 99)[:-9], "damaged"),
        ("t.csv.xz", lzma.compress(b"title,category\na,b\n" * 99)[:-9], "damaged"),
        ("t.jsonl", b'[{"title": "a", "category": "b"}]', "JSON array"),
        ("t.jsonl", b"title,category\na,b\n", "not JSON lines"),
        (
            "t.jsonl",
            b'{"name": "a", "category": "b"}\n',
            "no column 'title': it has name, category",
        ),
        ("t.parquet", b"PAR1 and then nothing", "damaged or not Parquet"),
        ("t.parquet", b"title,category\na,b\n", "damaged or not Parquet"),
        ("t.csv", b"title,category\n", "has no rows"),
        (
            "t.csv",
            b"title,category\n,b\n,c\na,\n",
            "no row that can be used: 2 no title, 1 no label",
        ),
        ("t.csv", b"title,category\n" + b"gato,A\nmesa,A\n" * 9, "1 category .'A'."),
        ("t.csv", b"title,category\n" + b"gato,A\nmesa,A\n" * 9 + b"piso,B\n", "--min-rows 2"),
        ("t.csv", b"title,category\n" + b"1,A\n2,A\n3,A\n4,B\n5,B\n6,B\n", "after cleaning"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_in_one_line(tmp_path, cache, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        prepare(DataSpec(source=str(tmp_path / name)), cache)
    assert "\n" not in str(caught.value) and name in str(caught.value)
    assert not cache.exists() or list((cache / "data").iterdir()) == []


def test_a_truncated_parquet_file_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.table({"title": ["mesa"] * 99, "category": ["a"] * 99})
    parquet.write_table(table, tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:60] = bytes(56)
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        _read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "nowhere.csv"}, "nowhere.csv does not exist"),
        ({"source": "sat", "level": "genus"}, "genus.*segment, family"),
        ({"source": "sat", "language": "spanish"}, "--language.*sat"),
        ({"source": "sat", "text_column": "x"}, "--text-column.*sat"),
        ({"source": "x.csv", "level": "family"}, "--level.*x.csv"),
    ],
)
def test_options_that_do_not_fit_the_source_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        open_source(DataSpec(**options))


@pytest.mark.parametrize("name", ["min_rows", "sample", "max_vocabulary", "min_count"])
def test_a_number_below_one_is_refused(name):
    with pytest.raises(DataError, match=f"--{name.replace('_', '-')} must be 1 or more, got 0"):
        DataSpec(**{name: 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "spanish"}, "no column 'language' .*it has title, category"),
        ({"label_quality": "reliable"}, "no column 'label_quality' .*it has title, category"),
        ({"text_column": "title", "label_column": "title"}, "both 'title'"),
    ],
)
def test_columns_that_the_table_lacks_are_named_with_those_it_has(write_csv, options, message):
    path = write_csv([["gato", "A"]], header=["title", "category"])
    with pytest.raises(DataError, match=message):
        open_source(DataSpec(source=str(path), **options))


def test_a_language_without_rows_is_refused(write_csv, rows, cache):
    with pytest.raises(DataError, match="none of the 200 rows .* is french"):
        prepare(DataSpec(source=str(write_csv(rows)), language="french"), cache)


def test_a_header_may_be_quoted_and_hold_line_breaks(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'"title","a\nb",category\r\ngato,1,A\r\n,2,B\r\n')
    assert _read(path) == ([("gato", "A")], {"no title": (1, 4)})
