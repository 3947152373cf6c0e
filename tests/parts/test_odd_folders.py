"""An output folder whose name is something else if it is taken for a part of a URL."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from search.folders import OutputFolder
from search.tracking.client import default_tracking_uri

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, ROOT / "studies.py", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def wait_for_artifact(out, name):
    """What the sender has not delivered within the search's patience it delivers afterwards."""
    until = time.monotonic() + 120
    while not (found := list(out.glob(f"mlartifacts/*/artifacts/{name}"))):
        assert time.monotonic() < until
        time.sleep(0.2)
    return found[0]


@pytest.mark.parametrize("name", ["feature%2Fx", "q?x#1", "a{b}'c 50%"])
def test_all_of_a_search_is_in_its_folder_and_its_commands_can_be_pasted(
    tmp_path, write_table, name
):
    out, table = tmp_path / "work" / name, write_table(tmp_path)
    search = ["--data", table, "--dim", "8", "--epochs", "1", "--trials", "1", "--out", out]
    done = run(*search, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "work").iterdir()] == [name]
    curve = wait_for_artifact(out, "learning-curve.svg")
    assert {"optuna.db", "mlflow.db", "mlartifacts", "reports"} <= {p.name for p in out.iterdir()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["titles.csv", "work"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == [name]
    client = MlflowClient(default_tracking_uri(out))
    run_id = curve.relative_to(out / "mlartifacts").parts[0]
    assert curve.name in [file.path for file in client.list_artifacts(run_id)]

    commands = done.stdout.partition("\nNext:\n")[2].splitlines()
    report, _, mlflow = (shlex.split(line) for line in commands[:3])
    assert mlflow[-1] == default_tracking_uri(out)
    for words in (["status", "--out", out], report[2:]):
        again = run(*words, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
    assert "1 of 1 trials done" in run("status", "--out", out, cwd=tmp_path).stdout


def test_mlflow_is_not_asked_to_keep_a_model_that_it_would_not_find(tmp_path):
    out = tmp_path / "feature%2Fx"
    OutputFolder(out).create()
    done = run("export", "--register", "shop", "--out", out, cwd=tmp_path)
    assert done.returncode == 2
    assert "--register: MLflow does not find a model again in" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(out.iterdir()) == []
