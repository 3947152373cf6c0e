"""What trials are called, and what a search says is next."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.display.names import trial_name
from search.folders import OutputFolder
from search.run import next_commands
from search.spaces import baselines, good_starts
from search.study import BASELINE_ATTR, START_ATTR
from search.tracking.client import default_tracking_uri

MLP = {
    "num_layers": 2,
    "hidden_size_1": 512,
    "hidden_size_2": 64,
    "freeze_embeddings": True,
    "dropout": 0.2755,
    "batch_size": 256,
    "learning_rate": 0.00694,
}


def test_a_trial_is_named_by_its_configuration():
    assert trial_name(MLP, {}) == ("hidden 512-64, frozen, dropout 0.28, batch 256, rate 0.0069")


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_first_trials_are_named_by_where_they_come_from(model):
    for name, params in baselines(model, 5).items():
        assert trial_name(params, {BASELINE_ATTR: name}) == f"baseline: {name}"
    assert trial_name(good_starts(model, 5)[0], {START_ATTR: True}).startswith("good start: ")


def test_a_cnn_is_named_by_its_filters():
    assert trial_name(good_starts("cnn", 5)[0], {}).startswith(
        "100 filters of 1,2,3, no hidden layer"
    )


def what_next(storage_url, tracking_uri, folder="runs", study_name="my study"):
    names = {"study_name": study_name, "study_key": "k"}
    return next_commands(storage_url, tracking_uri, OutputFolder(Path(folder)), **names)


def test_the_next_commands_can_be_typed_whatever_the_folder_is_called():
    report, dashboard, mlflow = what_next("sqlite:///my runs/o.db", "sqlite:////m.db", "my runs")
    where = "--out 'my runs' --storage 'sqlite:///my runs/o.db'"
    assert report.endswith(f"python studies.py report --study 'my study' {where}")
    assert dashboard.endswith(f"python studies.py dashboard {where}")
    # Without a page: nobody knows that database's experiments.
    assert mlflow.endswith("mlflow ui --workers 1 --backend-store-uri sqlite:////m.db")


def test_the_report_of_a_study_where_it_is_by_default_needs_its_name_alone():
    report, dashboard, _ = what_next("sqlite:///runs/optuna.db", "sqlite:////m.db")
    assert report.endswith("python studies.py report --study 'my study'")
    assert dashboard.endswith("python studies.py dashboard")


def test_without_a_best_trial_no_report_is_proposed():
    dashboard, _ = what_next("sqlite:///runs/optuna.db", "sqlite:////m.db", study_name=None)
    assert dashboard.endswith("python studies.py dashboard")


def test_the_page_of_runs_of_a_new_database_is_known():
    *_, page = what_next("sqlite:///o.db", default_tracking_uri(Path("runs")))
    assert page.split()[-1] == (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
    )


def test_a_server_that_runs_needs_no_command():
    *_, last = what_next("sqlite:///o.db", "http://mlflow:5000")
    assert last == "open http://mlflow:5000"


def test_a_report_which_needs_the_database_is_not_proposed_beside_a_proxy():
    dashboard, *_ = what_next("grpc://here:13000", "http://mlflow:5000")
    assert dashboard.endswith("python studies.py dashboard --storage grpc://here:13000")
