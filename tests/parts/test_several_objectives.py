"""A search over several objectives as processes, on each kind of database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.objectives import pareto_front
from search.results.details import study_details
from search.results.status import read_status
from search.storage.opening import open_storage

ROOT = Path(__file__).parents[2]
# Of a test's own searches; that of ``searched`` goes to MLflow.
pytestmark = pytest.mark.usefixtures("mlflow_is_away")


def start_search(folder, url, table, *arguments, epochs=1):
    """Start a search with three objectives; its process."""
    given = ["--data", table, "--dim", 16, "--epochs", epochs, "--study", "three"]
    several = ["--objectives", "size,latency,balanced_accuracy"]
    return subprocess.Popen(
        [sys.executable, ROOT / "studies.py", *map(str, [*given, *several, *arguments])],
        cwd=folder,
        env={**os.environ, "STORAGE_URL": url, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start(write_table, tmp_path, url):
    return partial(start_search, tmp_path, url, write_table(tmp_path))


@pytest.fixture
def trials(url):
    """The study's trials by a reader of its own."""
    storage = open_storage(url)

    def read():
        try:
            return optuna.load_study(study_name="three", storage=storage).get_trials()
        except KeyError:
            return []

    yield read
    storage.close()


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Warning" not in errors and "Traceback" not in errors
    return output


def test_two_workers_end_with_exactly_the_budget_and_more_adds_what_is_missing(start, trials):
    finish(start("--trials", 5, "--workers", 2))
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE] * 5
    output = finish(start("--trials", 7))
    found = trials()
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 7
    assert all(len(trial.values) == 3 and len(trial.intermediate_values) == 4 for trial in found)
    assert "Pareto front" in output and "latency in ms" in output


def test_an_interrupted_trial_is_resumed_and_the_budget_is_exact(start, trials):
    process = start("--trials", 2, epochs=20)
    until = time.monotonic() + 60
    while not any(len(trial.intermediate_values) > 8 for trial in trials()):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    finish(start("--trials", 2, epochs=20))
    counted = [trial for trial in trials() if trial.state == TrialState.COMPLETE]
    assert len(counted) == 2 and all(len(trial.values) == 3 for trial in counted)
    (resumed,) = [trial for trial in trials() if trial.user_attrs["attempt"] == 2]
    assert resumed.user_attrs["resumed_from"] > 8
    assert len(resumed.intermediate_values) == 80


@pytest.fixture(scope="module")
def searched(write_table, tmp_path_factory):
    """A search of four trials: its folder, its storage, its study."""
    folder = tmp_path_factory.mktemp("searched")
    url = f"sqlite:///{folder}/study.db"
    finish(start_search(folder, url, write_table(folder), "--trials", 4))
    storage = open_storage(url)
    yield folder, storage, optuna.load_study(study_name="three", storage=storage)
    storage.close()


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_has_each_trials_costs_and_the_front(searched):
    from mlflow import MlflowClient

    folder, _, study = searched
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "title-search"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "study"]
    front = pareto_front(study)
    assert parent.data.tags["pareto_front"] == ", ".join(str(t.number) for t in front)
    assert parent.data.tags["best_trial"] == str(front[0].number)
    children = {int(r.data.tags["trial"]): r for r in runs if r.data.tags["kind"] == "trial"}
    assert sorted(children) == [0, 1, 2, 3]
    for trial in study.trials:
        metrics = children[trial.number].data.metrics
        assert [metrics[name] for name in ("value", "latency", "size")] == trial.values


def test_show_and_status_know_the_front(searched):
    _, storage, study = searched
    front = pareto_front(study)
    shown = study_details(study)["pareto_front"]
    assert [(t["number"], [*t["values"].values()]) for t in shown] == [
        (trial.number, trial.values) for trial in front
    ]
    status = read_status(storage, study).as_json()
    assert status["pareto_front"] == tuple(trial.number for trial in front)
    assert status["best"]["number"] == front[0].number
    assert status["best"]["value"] == front[0].values[0]
