"""Quotes that quote nothing, in files that are written without quoting, and those that do."""

import csv
import io
import random

import pytest

from data_utils import DataError, DataSpec, prepare
from data_utils import readers as readers_module
from data_utils.parsing import parse_block
from data_utils.sources import open_source

STRAY, JOINED = "stray quote, read as text", "line within quotes"


def _read(path, text):
    """All usable (title, label) of a file, its rejects, and its oddities."""
    path.write_text(text, newline="")
    found, rejects, oddities = [], {}, {}
    for part in open_source(DataSpec(source=str(path))).parts:
        for block in part.blocks():
            rows = parse_block(part.layout, block)
            found += zip(rows.titles, rows.labels, strict=True)
            for kept, new in ((rejects, rows.rejects), (oddities, block.oddities)):
                for reason, (count, line) in new.items():
                    before, first = kept.get(reason, (0, line))
                    kept[reason] = (before + count, first)
    return found, rejects, oddities


def _plain(titles, delimiter="\t"):
    rows = [f"{title}{delimiter}C{index % 3}\n" for index, title in enumerate(titles)]
    return f"title{delimiter}category\n" + "".join(rows)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize(
    "strays",
    [
        {20: '"24 pulgadas', 90: 'monitor 24"'},
        {20: '"24 pulgadas', 90: 'monitor 24" led'},
        {20: '"24 pulgadas'},
        {20: '"24 pulgadas', 21: '"32 pulgadas', 90: '"40 pulgadas'},
        {0: '"24 pulgadas', 119: '24"'},
        {20: '"24"" pulgadas', 90: '24"'},
        {21: '"', 40: '"El Quijote" de Cervantes con "notas'},
    ],
    ids=["two", "inches", "one", "starts", "ends", "doubled", "titles"],
)
def test_stray_quotes_swallow_no_row(tmp_path, strays, delimiter):
    titles = [strays.get(index, f"silla numero {index}") for index in range(120)]
    found, rejects, oddities = _read(tmp_path / "t.tsv", _plain(titles, delimiter))
    assert len(found) == 120 and rejects == {}
    assert [label for _, label in found] == [f"C{index % 3}" for index in range(120)]
    assert len([title for title, _ in found if title.startswith("silla")]) == 120 - len(strays)
    first = min(strays) + 2
    assert oddities.get(STRAY, (1, first))[1] == first


def test_a_stray_quote_stays_in_its_title(tmp_path):
    text = _plain(['"24 pulgadas', "silla", 'lampara 24"', "mesa"])
    found, _, oddities = _read(tmp_path / "t.tsv", text)
    assert [title for title, _ in found] == ['"24 pulgadas', "silla", 'lampara 24"', "mesa"]
    assert oddities == {STRAY: (1, 2)}


def test_a_stray_quote_among_unusable_rows_swallows_none(tmp_path):
    titles = [f"silla {index}" + ", nueva" * (index % 4 == 0) for index in range(200)]
    titles[10], titles[150] = '"24 pulgadas', 'pantalla 24"'
    found, rejects, oddities = _read(tmp_path / "t.csv", _plain(titles, ","))
    assert len(found) + rejects["wrong number of fields"][0] == 200
    assert oddities == {STRAY: (1, 12)}


LEGITIMATE = [
    "gato\nnegro",
    "Mesa, grande\nroja",
    "a, b\nc, d\ne",
    "uno\n\ndos",
    'dice ""hola""\nadiós'.replace('""', '"'),
    "\n".join(f"línea {index}" for index in range(40)),
    "precio\n1,5",
]


@pytest.mark.parametrize("lineterminator", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("title", LEGITIMATE)
def test_titles_over_several_lines_are_read_as_csv_has_them(tmp_path, title, lineterminator):
    text = io.StringIO(newline="")
    # With another line end, the writer doesn't quote a line feed unless it quotes all.
    quoting = csv.QUOTE_ALL if lineterminator == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator=lineterminator, quoting=quoting)
    writer.writerows([("title", "category"), (title, "A"), ("silla, nueva", "B"), ("mesa", "A")])
    found, rejects, oddities = _read(tmp_path / "t.csv", text.getvalue())
    assert found == [(title, "A"), ("silla, nueva", "B"), ("mesa", "A")]
    assert rejects == {}
    assert oddities == {JOINED: (title.count("\n"), 2)}


def test_two_lines_that_chance_makes_rows_stay_one_title_where_the_file_quotes(tmp_path):
    title = "Cola 1,5 l\nretornable"  # of two fields, and of two
    text = f'title,category\n"{title}",A\n"silla, nueva",B\n'
    assert _read(tmp_path / "t.csv", text)[0] == [(title, "A"), ("silla, nueva", "B")]


@pytest.mark.parametrize("seed", range(20))
def test_any_file_is_read_as_the_csv_module_does_unless_a_quote_is_called_stray(
    tmp_path, monkeypatch, seed
):
    rng = random.Random(seed)
    pieces = ["x", 'q"q', "\n", ",", "ñ", '"', "\r\n", ",A\n", '""']
    text = "title,category\n" + "".join(rng.choices(pieces, k=200))
    whole = _read(tmp_path / "t.csv", text)
    for size in (5, 60):
        monkeypatch.setattr(readers_module, "BLOCK_BYTES", size)
        assert _read(tmp_path / "t.csv", text) == whole
    if STRAY not in whole[2]:
        records = list(csv.reader(io.StringIO(text, newline="")))[1:]
        rows = [(row[0], row[1]) for row in records if len(row) == 2]
        assert whole[0] == [(t, c) for t, c in rows if t.strip() and c.strip()]


def test_stray_quotes_are_in_the_summary_and_strict_refuses_them(tmp_path, cache):
    titles = [f"silla {'abcdefghij'[index % 10] * 3} mesa" for index in range(120)]
    titles[20], titles[90] = '"24 pulgadas', 'monitor 24"'
    path = tmp_path / "t.tsv"
    path.write_text(_plain(titles))
    summary = prepare(DataSpec(source=str(path)), cache).summary
    assert (summary["rows_read"], summary["rows_used"]) == (120, 120)
    assert summary["oddities"] == {STRAY: 1}
    assert summary["first_oddities"] == {STRAY: "t.tsv, line 22"}
    for cache_dir in (cache, cache / "fresh"):
        with pytest.raises(DataError, match="line 22: stray quote, read as text .refused"):
            prepare(DataSpec(source=str(path), strict=True), cache_dir)


def test_strict_accepts_titles_over_several_lines(tmp_path, cache):
    path = tmp_path / "t.csv"
    rows = [(f"silla\n{'abcdefghij'[index % 10] * 3}", f"C{index % 2}") for index in range(40)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("title", "category"), *rows])
    assert prepare(DataSpec(source=str(path), strict=True), cache).summary["rows_used"] == 40
