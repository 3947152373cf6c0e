"""`studies.py predict`: titles from anywhere, predictions in three forms."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import studies

ROOT = Path(__file__).resolve().parents[3]
ROWS = ("silla negra", "", 'taza "grande", mesa', "zapato\tlámpara 💡", "x" * 10_000)
WITH_BREAKS = (*ROWS, "mesa\nde luz", "carriage\rreturn", "nul\0byte")


@pytest.fixture
def predict(folder, capsys):
    """Run the command; its exit status, standard output and standard error."""

    def run(*arguments):
        status = studies.main(["predict", "--model", str(folder), *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def expected(predictor):
    """(title, category) of the best category, by the library."""

    def predict(titles):
        found = predictor.predict(list(titles))
        return [(title, best[0][0]) for title, best in zip(titles, found, strict=True)]

    return predict


def as_csv(titles, delimiter=","):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("id", "title"), *enumerate(titles)])
    return text.getvalue().encode()


def as_jsonl(titles):
    return "".join(json.dumps({"title": t, "id": 1}) + "\n" for t in titles).encode()


def as_text(titles):
    return "".join(f"{title}\n" for title in titles).encode()


def read_jsonl(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return [(row["title"], row["category"]) for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "titles"),
    [
        ("a.txt", as_text(ROWS), ROWS),
        ("a.txt", "\ufeff".encode() + as_text(ROWS)[:-1], ROWS),
        ("a.csv", as_csv(WITH_BREAKS), WITH_BREAKS),
        ("a.tsv", as_csv(WITH_BREAKS, "\t"), WITH_BREAKS),
        ("a.jsonl", as_jsonl(WITH_BREAKS), WITH_BREAKS),
        ("a.csv.gz", gzip.compress(as_csv(ROWS), mtime=0), ROWS),
        ("a.jsonl.bz2", bz2.compress(as_jsonl(ROWS)), ROWS),
        ("a.txt.xz", lzma.compress(as_text(ROWS)), ROWS),
    ],
    ids=["text", "text with mark", "csv", "tsv", "jsonl", "csv.gz", "jsonl.bz2", "txt.xz"],
)
def test_a_file_gives_a_line_for_each_title_in_its_order(
    predict, expected, tmp_path, name, content, titles
):
    (tmp_path / name).write_bytes(content)
    status, out, err = predict("--input", tmp_path / name, "--format", "jsonl")
    assert (status, err) == (0, "")
    assert read_jsonl(out) == expected(titles)


def test_parquet_is_read(predict, expected, tmp_path):
    table = pyarrow.table({"name": pyarrow.array(WITH_BREAKS)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    status, out, _ = predict(
        "--input", tmp_path / "a.parquet", "--text-column", "name", "--format", "jsonl"
    )
    assert (status, read_jsonl(out)) == (0, expected(WITH_BREAKS))


@pytest.mark.parametrize(
    ("content", "column"),
    [
        (as_text(ROWS), ()),
        (gzip.compress(as_text(ROWS), mtime=0), ()),
        (as_csv(ROWS), ("--text-column", "title")),
        (as_jsonl(ROWS), ("--text-column", "title")),
    ],
    ids=["text", "gz", "csv", "jsonl"],
)
@pytest.mark.parametrize("option", [(), ("--input", "-")], ids=["", "-"])
def test_standard_input_is_read(predict, expected, tmp_path, monkeypatch, content, column, option):
    (tmp_path / "input").write_bytes(content)
    with (tmp_path / "input").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        status, out, _ = predict(*option, *column, "--format", "jsonl")
    assert (status, read_jsonl(out)) == (0, expected(ROWS))


def test_a_terminal_without_titles_is_told_what_to_give(predict, monkeypatch):
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        status, _, err = predict()
    os.close(keyboard)
    assert (status, err) == (
        2,
        "error: no titles: give some, --input FILE, or pipe them to standard input\n",
    )


def test_no_titles_give_no_lines(predict, tmp_path):
    (tmp_path / "none.txt").write_bytes(b"")
    assert predict("--input", tmp_path / "none.txt") == (0, "", "")


def test_csv_output_gives_every_title_back(predict, expected, tmp_path):
    status, out, _ = predict("--format", "csv", "--", *WITH_BREAKS[:-1])
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [(row["title"], row["category"]) for row in rows] == expected(WITH_BREAKS[:-1])
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in rows)


def test_text_output_is_one_line_a_title_whatever_is_in_it(predict):
    _, out, _ = predict("--", *WITH_BREAKS[:-1], "\x1b[2J")
    lines = out.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(WITH_BREAKS)
    assert all(line.count("\t") == 2 for line in lines)
    assert "\x1b" not in out


def test_top_gives_the_next_categories_too(predict, predictor):
    _, out, _ = predict("--top", 2, "--format", "csv", "silla negra")
    [row] = csv.DictReader(io.StringIO(out))
    [best] = predictor.predict(["silla negra"], top=2)
    assert (row["category"], row["category_2"]) == tuple(name for name, _ in best)
    assert float(row["probability"]) > float(row["probability_2"])


def test_json_lines_hold_the_probabilities_to_the_bit(predict, predictor):
    _, out, _ = predict("--format", "jsonl", "silla negra")
    [[(_, probability)]] = predictor.predict(["silla negra"])
    assert json.loads(out)["probability"] == pytest.approx(probability, rel=1e-8)


def test_lines_that_are_not_utf8_are_predicted_and_counted(predict, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"silla\xff\nmesa\n\xc3\n")
    status, out, err = predict("--input", tmp_path / "a.txt")
    assert (status, len(out.splitlines())) == (0, 3)
    assert err.startswith("note: among the titles: 2 not UTF-8") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"id,title\n1,silla\nonly one field\n3,mesa\n"),
        ("a.jsonl", b'{"title": "silla"}\n{broken\n{"title": 7}\n'),
    ],
)
def test_rows_without_a_title_keep_their_line_and_are_counted(predict, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    status, out, err = predict("--input", tmp_path / name, "--format", "csv")
    titles = [row["title"] for row in csv.DictReader(io.StringIO(out))]
    assert (status, len(titles), titles[0], titles[1]) == (0, 3, "silla", "")
    assert "without a title" in err


def test_a_line_without_end_is_cut(predict, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"silla " * 100_000 + b"\nmesa\n")
    status, out, err = predict("--input", tmp_path / "a.txt", "--format", "jsonl")
    assert (status, [len(title) for title, _ in read_jsonl(out)]) == (0, [131_072, 4])
    assert "1 cut at 131,072 characters" in err


def test_a_file_appears_under_its_name_with_what_would_be_printed(predict, tmp_path):
    _, printed, _ = predict("--format", "csv", "silla", "mesa")
    status, out, _ = predict("--format", "csv", "--to", tmp_path / "found.csv", "silla", "mesa")
    assert (status, out) == (0, "")
    assert (tmp_path / "found.csv").read_text() == printed
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]


def test_an_input_that_breaks_off_leaves_no_output(predict, tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(as_text(ROWS) * 1000)[:-40])
    status, _, err = predict("--input", tmp_path / "a.txt.gz", "--to", tmp_path / "found")
    assert status == 2
    assert "damaged or cut short" in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt.gz"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--input", "."], "cannot be read (Is a directory)"),
        (["--input", "labels.csv"], "has no column 'title': it has name, n; choose with --text"),
        (["--input", "labels.csv", "--text-column", "nom"], "has no column 'nom'"),
        (["--input", "labels.csv", "silla"], "give one of them"),
        (["--input", "array.json"], "not JSON lines"),
        (["--input", "book.csv"], "a zip archive or a spreadsheet"),
        (["--top", "0", "silla"], "--top is 0"),
        (["--format", "xml", "silla"], "xml"),
        (["--to", "no/such/folder", "silla"], "no/such/folder cannot be written"),
    ],
)
def test_a_mistake_gets_one_line(predict, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("name,n\nsilla,1\n")
    Path("array.json").write_text("[1]\n")
    Path("book.csv").write_bytes(b"PK\x03\x04")
    status, out, err = predict(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and said in err and err.count("\n") == 1


def test_a_damaged_model_gets_one_line(folder, tmp_path, capsys):
    copied = shutil.copytree(folder, tmp_path / "copy")
    (copied / "weights.safetensors").write_bytes(b"")
    assert studies.main(["predict", "--model", str(copied), "silla"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "weights.safetensors does not match its checksum" in captured.err


def test_the_folder_of_a_search_is_no_model_and_its_exports_are_named(folder, tmp_path, capsys):
    runs = tmp_path / "runs"
    (runs / "cache").mkdir(parents=True)
    assert studies.main(["predict", "--model", str(runs), "silla"]) == 2
    assert f"{runs} is not an exported model: give a folder" in capsys.readouterr().err
    shutil.copytree(folder, runs / "exports" / "mine")
    assert studies.main(["predict", "--model", str(runs), "silla"]) == 2
    assert f"such as {runs / 'exports' / 'mine'}" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_the_command_quietly(folder, tmp_path):
    (tmp_path / "many.txt").write_bytes(b"silla negra\n" * 100_000)
    command = [sys.executable, ROOT / "studies.py", "predict", "--model", folder]
    process = subprocess.Popen(
        [*command, "--input", tmp_path / "many.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_one_title_waits_for_no_package_that_it_does_not_need(folder):
    program = (
        "import sys, studies\n"
        "studies.main(['predict', '--model', sys.argv[1], 'silla'])\n"
        "heavy = {'optuna', 'mlflow', 'pandas', 'scipy', 'sklearn', 'pyarrow', 'rich'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_titles_that_cannot_be_read_get_no_header_either(predict, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    status, out, err = predict("--input", tmp_path / "a.jsonl", "--format", "csv")
    assert (status, out) == (2, "")
    assert "has no column 'title': it has id; choose with --text-column" in err
    (tmp_path / "b.csv").write_text("title\n")
    status, out, _ = predict("--input", tmp_path / "b.csv", "--format", "csv")
    assert (status, out) == (0, "title,category,probability\n")
