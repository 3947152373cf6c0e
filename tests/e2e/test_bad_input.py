"""Every mistake gets one clear line on standard error, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess

import pytest

import studies

TITLE_HEADER = "title,label_quality,language,category\n"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command line that must be refused; its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert studies.main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "Traceback" not in captured.err
        return lines[0]

    return run


def studies_in(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT study_name FROM studies").fetchall()


def left_behind(folder):
    """What of a half-made preparation is left."""
    return [p for p in folder.rglob("*") if p.is_file() and ("tmp" in p.name or "part" in p.name)]


def test_an_unknown_model_is_answered_with_the_known_ones(refused):
    line = refused("--model", "lstm")
    assert "lstm" in line and "mlp" in line and "cnn" in line


@pytest.mark.parametrize(
    "command",
    [["--trials", "1"], ["worker", "--study", "s"], ["export", "--register", "m"]],
    ids=["search", "worker", "export"],
)
def test_mlflow_is_not_given_the_database_of_the_studies(refused, tmp_path, command):
    """MLflow could make no tables there, and would be away for ever."""
    spelling = f"sqlite:///{tmp_path}/one.db"
    line = refused(*command, "--storage", "sqlite:///one.db", "--tracking-uri", spelling)
    assert "--storage and --tracking-uri both name the database sqlite:///one.db" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["mlruns", "http://u:secret#1@host:5000", "http://u:a[b@host"])
def test_an_address_that_is_none_of_mlflow_is_refused_before_anything_runs(refused, tmp_path, uri):
    line = refused("--trials", "1", "--tracking-uri", uri)
    assert "MLflow" in line or "HOST:PORT" in line
    assert "secret" not in line and "a[b" not in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_named(refused):
    assert "--trails" in refused("--trails", 5)


def test_zero_trials_are_refused(refused):
    assert "--trials is 0" in refused("--trials", 0)


@pytest.mark.parametrize("option", ["--max-size-mb", "--max-latency-ms"])
@pytest.mark.parametrize("number", ["0", "-3", "nan", "inf", "small"])
def test_a_limit_that_is_no_number_above_zero_is_refused(refused, option, number, tmp_path):
    line = refused(option, number)
    assert option in line and "number" in line
    assert not (tmp_path / "runs").exists()


def test_a_timeout_that_is_no_time_is_refused(refused):
    assert "--timeout is 'soon'" in refused("--timeout", "soon")


def test_a_device_that_is_not_there_is_refused(refused):
    assert "--device" in refused("--device", "tpu")


def test_a_missing_data_path_is_named(refused, tmp_path):
    assert "nowhere.csv" in refused("--data", "nowhere.csv")
    assert studies_in(tmp_path / "runs" / "optuna.db") == []


def test_a_missing_column_is_named_with_those_that_are_there(refused, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,kind\nzapato,A\nmesa,B\n")
    line = refused("--data", path, "--text-column", "headline", "--label-column", "kind")
    assert "headline" in line and "name" in line and "table.csv" in line


def test_one_category_only_is_refused(refused, write_table):
    path = write_table([(f"zapato negro{'x' * i}", "SHOES") for i in range(30)])
    assert "categor" in refused("--data", path)


def test_a_category_with_one_row_is_named(refused, rows, write_table):
    path = write_table([*rows, ("gato siamés", "CATS")])
    line = refused("--data", path)
    assert "CATS" in line and "--min-rows" in line


def test_an_empty_file_is_refused(refused, tmp_path):
    (tmp_path / "empty.csv").touch()
    assert "empty" in refused("--data", tmp_path / "empty.csv")


def test_a_truncated_gz_is_refused_and_leaves_nothing(refused, rows, tmp_path):
    text = TITLE_HEADER + "".join(f"{t},reliable,spanish,{c}\n" for t, c in rows)
    whole = gzip.compress(text.encode())
    path = tmp_path / "titles.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert "titles.csv.gz" in refused("--data", path)
    assert left_behind(tmp_path / "runs") == []


def test_vectors_of_another_width_are_refused(refused, table, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("zapato 0.1 0.2 0.3\nbota 0.1 0.2 0.4\n")
    line = refused("--data", table, "--vectors", vectors, "--dim", 5)
    assert "3" in line and "5" in line


def test_a_broken_line_of_a_vectors_file_is_named(refused, table, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("zapato 0.1 0.2 0.3\nbota 0.1 oops 0.4\n")
    line = refused("--data", table, "--vectors", vectors)
    assert "vectors.txt" in line and "2" in line
    assert left_behind(tmp_path / "runs") == []


def test_a_study_of_another_model_or_other_data_is_not_mixed_up(
    refused, small, command, rows, write_table
):
    assert command("--trials", 1, "--study", "s", *small).returncode == 0
    assert "mlp" in refused("--model", "cnn", "--study", "s", *small)
    other = write_table(rows[:200], "other.csv")
    line = refused("--study", "s", "--data", other, *small[2:])
    assert "data" in line and "--study NEW_NAME" in line


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user cannot mount a file system to fill")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_while_preparing_is_said_and_leaves_nothing(
    command, rows, write_table, tiny_disk
):
    many = [(f"{title} {'ab' * 40}{index}", c) for index in range(80) for title, c in rows]
    path = write_table(many, "many.csv")
    done = command("--data", path, "--out", tiny_disk / "runs", "--keep-numbers")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert len(errors) == 1 and "space" in errors[0].lower()
    assert "Traceback" not in done.stderr
    assert left_behind(tiny_disk) == []


def test_an_output_folder_that_cannot_be_written_is_refused(refused, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "taken" in refused("--out", tmp_path / "taken" / "runs")


def test_a_storage_that_is_no_optuna_database_is_refused(refused, tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    before = path.read_bytes()
    assert "other.db" in refused("--storage", f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_storage_that_is_no_database_at_all_is_refused(refused, tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("these are notes\n" * 100)
    assert "notes.db" in refused("--storage", f"sqlite:///{path}")


def test_a_worker_without_its_study_says_so(refused):
    line = refused("worker", "--study", "none")
    assert "'none'" in line and "--wait" in line


HUGE = "99999999999999999999"


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            (option, HUGE)
            for option in (
                "--trials",
                "--epochs",
                "--seed",
                "--dim",
                "--workers",
                "--min-rows",
                "--sample",
                "--split-seed",
                "--min-letters",
                "--max-vocabulary",
                "--min-count",
            )
        ),
        ("--split-seed", f"-{HUGE}"),
        ("--dim", "10001"),
        *((option, f"{HUGE}d") for option in ("--timeout", "--trial-timeout", "--hang-timeout")),
        ("--from", "other", "--from-top", HUGE),
        ("report", "--seeds", HUGE),
        ("report", "--top", HUGE),
        ("export", "--seeds", HUGE),
        ("export", "--top", HUGE),
        ("compare", "a", "b", "--seeds", HUGE),
        ("cancel", "--trial", HUGE),
        ("dashboard", "--port", HUGE),
    ],
)
def test_a_number_beyond_all_use_is_refused_with_its_range(refused, arguments, tmp_path):
    line = refused(*arguments)
    assert arguments[-2] in line
    assert not (tmp_path / "runs" / "cache").exists()


def test_word_vectors_that_are_not_there_are_refused_before_anything_is_done(
    refused, table, tmp_path
):
    (tmp_path / "bad.vec").write_text("no vectors\n")
    for file in ("nowhere.vec", "bad.vec"):
        for more in ([], ["--dry-run"]):
            line = refused("--data", table, "--vectors", file, *more)
            assert file in line
            assert not (tmp_path / "runs").exists()


def test_a_limit_that_the_word_vectors_exceed_is_refused_before_they_are_trained(
    refused, table, tmp_path
):
    line = refused("--data", table, "--max-size-mb", "0.001", "--dim", "50")
    assert "--max-size-mb is 0.001, but the word vectors alone take" in line
    assert not (tmp_path / "runs" / "cache" / "vectors").exists()
    assert studies_in(tmp_path / "runs" / "optuna.db") == []


def test_a_limit_is_held_against_the_width_of_a_file(refused, table, tmp_path):
    (tmp_path / "wide.vec").write_text(f"silla {' 0.5' * 3000}\nmesa {' 0.25' * 3000}\n")
    for more in ([], ["--dry-run"]):
        line = refused("--data", table, "--vectors", "wide.vec", "--max-size-mb", "0.02", *more)
        assert "width 3000" in line
