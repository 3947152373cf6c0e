"""Studies whose titles and word vectors are no longer where they were."""

from __future__ import annotations

import shutil

import pytest

import studies

SEARCH = ["--trials", "2", "--epochs", "1", "--pruner", "none", "--study", "s", "--quiet"]


@pytest.fixture
def moved(tmp_path, titles_csv, vectors_file, mlflow_is_away, monkeypatch):
    """A study whose files have been moved; the folders where they are, and the options."""
    monkeypatch.chdir(tmp_path)
    for name, file in (("titles.csv", titles_csv), ("words.vec", vectors_file)):
        shutil.copy(file, tmp_path / name)
    files = ["--data", "titles.csv", "--vectors", "words.vec"]
    assert studies.main([*SEARCH, *files]) == 0
    new = tmp_path / "new"
    new.mkdir()
    for name in ("titles.csv", "words.vec"):
        shutil.move(tmp_path / name, new / name)
    return ["--data", "new/titles.csv", "--vectors", "new/words.vec"]


COMMANDS = {
    "report": ["report", "--study", "s", "--seeds", "1", "--top", "1", "--to", "r.html"],
    "export": ["export", "--study", "s", "--seeds", "1", "--to", "m"],
    "compare": ["compare", "s:0", "s:1", "--seeds", "2", "--quiet"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_prepared_data_serve_where_the_files_are_gone(moved, command, capsys):
    assert studies.main(COMMANDS[command]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_prepared_here_can_be_pointed_to(moved, command, capsys):
    shutil.rmtree("runs/cache")
    capsys.readouterr()
    assert studies.main(COMMANDS[command]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: the data of study 's' are neither in titles.csv nor prepared")
    assert line.endswith("say where they are with --data PATH")
    assert studies.main([*COMMANDS[command], *moved[:2]]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: the word vectors of study 's' are neither in words.vec nor")
    assert studies.main([*COMMANDS[command], *moved]) == 0, capsys.readouterr().err


def test_other_data_are_refused(moved, capsys, tmp_path):
    file = tmp_path / "new" / "titles.csv"
    rows = file.read_text("utf-8").splitlines()
    file.write_text("\n".join(rows[:-1]) + "\n", "utf-8")
    assert studies.main([*COMMANDS["report"], *moved]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "are not those of study 's'" in line and "give the study's own with --data" in line


def test_a_damaged_folder_is_not_taken_for_the_data(moved, capsys, tmp_path):
    (folder,) = (tmp_path / "runs" / "cache" / "data").glob("titles-*")
    (folder / "train.labels.npy").write_bytes(b"x")
    assert studies.main(COMMANDS["report"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "nor prepared" in line
    assert folder.is_dir()
