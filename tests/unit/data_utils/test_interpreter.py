"""Interpreters of ours import nothing from the folder that they are started in."""

from __future__ import annotations

import subprocess

import pytest

from data_utils import DataSpec, prepare
from data_utils.interpreter import start_python


@pytest.fixture
def strange_folder(tmp_path, monkeypatch):
    """A working folder with other things under our names; what of them was run."""
    folder = tmp_path / "strange"
    run = folder / "run"
    for name in ("data_utils", "search", "numpy", "models"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"open({str(run)!r}, 'w')\nraise SystemExit(3)")
    monkeypatch.chdir(folder)
    return run


@pytest.mark.parametrize(
    "arguments", [["-c", "import data_utils, numpy, search"], ["-m", "search.tracking.spool"]]
)
def test_what_lies_in_the_working_folder_is_not_run(strange_folder, arguments):
    with start_python(arguments, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert not strange_folder.exists()


def test_titles_are_cleaned_from_any_working_folder(
    strange_folder, write_csv, rows, cache, monkeypatch
):
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 500)
    assert prepare(DataSpec(source=str(write_csv(rows))), cache, processes=2).summary
    assert not strange_folder.exists()
