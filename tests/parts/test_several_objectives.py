"""A search over several objectives as processes, on each kind of database."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.objectives import pareto_front
from search.storage.opening import open_storage

ROOT = Path(__file__).parents[2]
WORDS = {
    "SHOES": "zapato bota sandalia tacón cuero suela".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo".split(),
    "KITCHEN": "olla sartén cuchillo taza plato cuchara".split(),
}


@pytest.fixture
def table(tmp_path):
    rng = random.Random(5)
    rows = {}
    while len(rows) < 240:
        label = sorted(WORDS)[len(rows) % 3]
        everywhere = rng.sample("nuevo oferta original grande negro blanco".split(), 2)
        rows.setdefault(" ".join(rng.sample(WORDS[label], 3) + everywhere), label)
    path = tmp_path / "titles.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["title", "category"], *rows.items()])
    return path


@pytest.fixture
def start(tmp_path, table, url):
    """Start a search with three objectives; its process."""

    def run(*arguments, epochs=1):
        given = ["--data", table, "--dim", 16, "--epochs", epochs, "--study", "three"]
        several = ["--objectives", "size,latency,balanced_accuracy"]
        return subprocess.Popen(
            [sys.executable, ROOT / "studies.py", *map(str, [*given, *several, *arguments])],
            cwd=tmp_path,
            env={**os.environ, "STORAGE_URL": url, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


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
    process = start("--trials", 2, epochs=60)
    until = time.monotonic() + 60
    while not any(len(trial.intermediate_values) > 20 for trial in trials()):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    finish(start("--trials", 2, epochs=60))
    counted = [trial for trial in trials() if trial.state == TrialState.COMPLETE]
    assert len(counted) == 2 and all(len(trial.values) == 3 for trial in counted)
    (resumed,) = [trial for trial in trials() if trial.user_attrs["attempt"] == 2]
    assert resumed.user_attrs["resumed_from"] > 20
    assert len(resumed.intermediate_values) == 240


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_has_each_trials_costs_and_the_front(start, url, tmp_path):
    if not url.startswith("sqlite"):
        pytest.skip("MLflow is the same with each database of studies")
    from mlflow import MlflowClient

    finish(start("--trials", 4))
    storage = open_storage(url)
    study = optuna.load_study(study_name="three", storage=storage)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
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
    storage.close()


def test_show_status_and_list_know_the_front(start, trials, url, tmp_path):
    if not url.startswith("sqlite"):
        pytest.skip("read in the same way from each database")
    finish(start("--trials", 4))

    def read(*arguments):
        process = subprocess.run(
            [sys.executable, ROOT / "studies.py", *arguments, "--json"],
            cwd=tmp_path,
            env={**os.environ, "STORAGE_URL": url},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(process.stdout)

    storage = open_storage(url)
    front = pareto_front(optuna.load_study(study_name="three", storage=storage))
    storage.close()
    shown, status, (listed,) = read("show"), read("status"), read("list")
    assert [trial["number"] for trial in shown["pareto_front"]] == [t.number for t in front]
    assert [[*t["values"].values()] for t in shown["pareto_front"]] == [t.values for t in front]
    assert status["pareto_front"] == [trial.number for trial in front]
    assert status["best"]["number"] == front[0].number
    assert status["best"]["value"] == listed["best_value"] == front[0].values[0]
