"""Rows that cannot be used: counted by reason with the line of the first, the others kept."""

import csv
import io
import random

import pytest

from data_utils import DataError, DataSpec, prepare
from data_utils import readers as readers_module
from data_utils.parsing import parse_block
from data_utils.readers import cut_blocks
from data_utils.records import LONG_FIELD, Block, Layout

HEADER = ("title", "category")


def _csv(data, first_line=2):
    layout = Layout(kind="csv", columns=(*HEADER, None, None), header=HEADER)
    rows = parse_block(layout, Block(data, first_line, 1.0))
    return list(zip(rows.titles, rows.labels, strict=True)), rows.rejects


def _json(data):
    layout = Layout(kind="json", columns=(*HEADER, None, None))
    rows = parse_block(layout, Block(data, 1, 1.0))
    return list(zip(rows.titles, rows.labels, strict=True)), rows.rejects


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b",A", "no title"),
        (b"  \t ,A", "no title"),
        (b"gato,", "no label"),
        (b"gato, ", "no label"),
        (b"gato", "wrong number of fields"),
        (b"gato,A,B", "wrong number of fields"),
        (b"ni\xf1o,A", "not UTF-8"),
        (b"gato,A\xff", "not UTF-8"),
        (b"x" * 140_000 + b",A", LONG_FIELD),
    ],
)
def test_a_bad_csv_row_is_counted_and_the_others_are_kept(row, reason):
    found, rejects = _csv(b"mesa,A\n" + row + b"\nni\xc3\xb1o,B\n" + row + b"\npiso,C")
    assert found == [("mesa", "A"), ("niño", "B"), ("piso", "C")]
    assert rejects == {reason: (2, 3)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"title": "a", "category"', "broken JSON"),
        (b"[1, 2]", "broken JSON"),
        (b"null", "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b'{"title": "ni\xf1o", "category": "A"}', "not UTF-8"),
        (b'{"title": null, "category": "A"}', "no title"),
        (b'{"category": "A"}', "no title"),
        (b'{"title": 7, "category": "A"}', "title is not text (int)"),
        (b'{"title": "a", "category": ""}', "no label"),
        (b'{"title": "a", "category": 1.5}', "label is neither text nor a whole number (float)"),
        (b'{"title": "a", "category": [1]}', "label is neither text nor a whole number (list)"),
        (b'{"title": "a", "category": NaN}', "no label"),
        (b'{"title": "a", "category": "half \\ud83d"}', "not UTF-8"),
    ],
)
def test_a_bad_json_line_is_counted_and_the_others_are_kept(row, reason):
    good = b'{"title": "mesa", "category": "A"}\r\n'
    found, rejects = _json(good + row + b"\n\n" + row + b"\n" + good)
    assert found == [("mesa", "A")] * 2
    assert rejects == {reason: (2, 2)}


def test_odd_but_usable_json_is_used():
    found, rejects = _json(
        b'{"title": "half \\ud83d of a pair", "category": 12}\n'
        b'{"title": "line\\nbreak\\u2028", "category": "A"}'
    )
    assert ([label for _, label in found], rejects) == (["12", "A"], {})


def test_odd_but_usable_csv_is_used():
    found, rejects = _csv(b'a\x00b,A\r\n"two\r\nlines",B\r\n\r\nTV 32" led,C\r\n"say ""hi""",D')
    assert [title for title, _ in found] == ["a\x00b", "two\r\nlines", 'TV 32" led', 'say "hi"']
    assert rejects == {}


def test_line_numbers_count_the_lines_within_quotes():
    _, rejects = _csv(b'"a\nb\nc",A\n,B\n', first_line=10)
    assert rejects == {"no title": (1, 13)}


def test_a_quote_that_is_never_closed_costs_no_row(monkeypatch, tmp_path):
    rows = [f"title {i:05d} of many,A\n" for i in range(60_000)]
    rows[1000] = '"title never closed,A\n'
    path = tmp_path / "t.csv"
    path.write_text("title,category\n" + "".join(rows))
    monkeypatch.setattr(readers_module, "BLOCK_BYTES", 1 << 16)
    found, rejects = _all_rows(path)
    assert len(found) == 60_000 and found[1000] == ('"title never closed', "A")
    assert rejects == {}


def _all_rows(path):
    layout = Layout(kind="csv", columns=(*HEADER, None, None), header=HEADER)
    found, rejects = [], {}
    for block in cut_blocks(path, layout, skip_bytes=15, first_line=2):
        rows = parse_block(layout, block)
        found += zip(rows.titles, rows.labels, strict=True)
        for reason, (count, line) in rows.rejects.items():
            before, first = rejects.get(reason, (0, line))
            rejects[reason] = (before + count, first)
    return found, rejects


@pytest.mark.parametrize("seed", range(30))
def test_cutting_a_file_anywhere_reads_the_same_rows(monkeypatch, tmp_path, seed):
    rng = random.Random(seed)
    # Stray quotes from seed 15 on; before, CSV as it should be, with quoted line breaks.
    pieces = ["a", "é", ",", "\n", "\r\n", '"', "bb "] if seed >= 15 else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"]))
    for _ in range(60):
        title = "".join(rng.choices(["x", 'q"q', "\n", ",", "ñ", " "], k=rng.randrange(1, 12)))
        writer.writerow([title, "A"])
        text.write("".join(rng.choices(pieces, k=5)) + "\n" if pieces else "")
    path = tmp_path / "t.csv"
    path.write_bytes(b"title,category\n" + text.getvalue().encode())
    whole = _all_rows(path)
    for size in (7, 40, 333):
        monkeypatch.setattr(readers_module, "BLOCK_BYTES", size)
        assert _all_rows(path) == whole


def test_a_row_without_end_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"title,category\n" + b"x" * 5000)
    monkeypatch.setattr(readers_module, "BLOCK_BYTES", 100)
    monkeypatch.setattr(readers_module, "_LONGEST_RECORD_BYTES", 1000)
    with pytest.raises(DataError, match="line 2: a row longer than"):
        _all_rows(path)


def test_rejects_are_in_the_summary_and_strict_refuses_the_first(write_csv, rows, cache):
    rows[7][0], rows[30][3], rows[90] = "", " ", ["only one"]
    path = write_csv(rows)
    summary = prepare(DataSpec(source=str(path)), cache).summary
    assert summary["rows_rejected"] == {"no title": 1, "no label": 1, "wrong number of fields": 1}
    assert summary["first_rejected"]["no title"] == "titles.csv, line 9"
    assert (summary["rows_read"], summary["rows_used"]) == (200, 197)
    for cache_dir in (cache, cache / "fresh"):  # prepared before without strict, and not
        with pytest.raises(DataError, match="titles.csv, line 9: no title"):
            prepare(DataSpec(source=str(path), strict=True), cache_dir)
