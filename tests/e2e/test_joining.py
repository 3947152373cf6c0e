"""Workers and launches that come to a study which is not what they take it for."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.storage.budget import set_budget
from search.storage.control import FAILURE, LAUNCH, STATE
from search.storage.opening import open_storage
from search.study import SETTINGS_ATTR, load_settings, open_study

ROOT = Path(__file__).resolve().parents[2]
GONE = (
    "error: the study was deleted: start it anew with its own command, or name another with "
    "--study NAME\n"
)


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "runs").mkdir()
    with closing(open_storage(f"sqlite:///{tmp_path / 'runs' / 'optuna.db'}")) as opened:
        yield opened


def the_study(storage):
    return optuna.load_study(study_name="mlp-titles", storage=storage)


def states(storage):
    return [trial.state for trial in the_study(storage).get_trials(deepcopy=False)]


@pytest.fixture
def preparing(command, small, storage, tmp_path):
    """A worker that has read its study's settings and prepares the data until it is let go on."""
    done = command("--trials", 1, *small)
    assert done.returncode == 0, done.stderr
    (prepared,) = (tmp_path / "runs" / "cache" / "data").glob("titles-*")
    cache = tmp_path / "elsewhere" / "cache" / "data"
    cache.mkdir(parents=True)
    with (cache / f".{prepared.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = [sys.executable, ROOT / "studies.py", "worker", "--study", "mlp-titles", "--json"]
        where = ["--out", tmp_path / "elsewhere", "--storage", storage.display_url]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen([*line, *where], cwd=tmp_path, **pipes) as worker:
            heard = map(json.loads, worker.stdout)
            next(event for event in heard if "waiting for another process" in str(event))
            yield worker, lock
            worker.kill()


def test_a_worker_that_prepares_while_its_study_is_started_anew_leaves_that_alone(
    preparing, command, storage
):
    worker, lock = preparing
    settings = load_settings(the_study(storage))
    assert command("delete", "--study", "mlp-titles", "--yes").returncode == 0
    anew = open_study(storage, "mlp-titles", replace(settings, seed=99), n_trials=3)
    set_budget(storage, anew._study_id, n_trials=3)
    fcntl.flock(lock, fcntl.LOCK_UN)
    _, errors = worker.communicate(timeout=120)
    assert (worker.returncode, errors) == (2, GONE)
    assert states(storage) == [TrialState.WAITING] * 3


def test_a_worker_and_a_launch_refuse_another_search_space_with_one_line(command, small, storage):
    command("--trials", 1, *small)
    study = the_study(storage)
    other = replace(load_settings(study), space=99)
    study.set_user_attr(SETTINGS_ATTR, other.to_json())
    set_budget(storage, study._study_id, n_trials=2)
    refused = [
        command(*arguments)
        for arguments in (
            ["--trials", 2, *small],
            ["worker", "--study", "mlp-titles"],
            ["enqueue", "--set", "pooling=sqrtn"],
        )
    ]
    study.set_user_attr(SETTINGS_ATTR, replace(other, space=2, pruner="crystal-ball").to_json())
    newer = command("worker", "--study", "mlp-titles")
    assert newer.stderr.startswith(
        "error: study 'mlp-titles' has crystal-ball, which this version"
    )
    assert {done.returncode for done in (*refused, newer)} == {2}
    (line,) = {done.stderr.splitlines()[-1] for done in refused}
    assert line.startswith("error: study 'mlp-titles' exists with space 99, not 2; ")
    assert states(storage) == [TrialState.COMPLETE]


def test_a_worker_of_a_launch_joins_the_study_of_that_launch_alone(command, small, storage):
    command("--trials", 1, *small)
    set_budget(storage, the_study(storage)._study_id, n_trials=2)
    done = command("worker", "--study", "mlp-titles", "--key", "another")
    assert (done.returncode, done.stderr) == (2, GONE)
    assert states(storage) == [TrialState.COMPLETE]


def test_a_launch_that_is_started_again_by_its_supervisor_does_not_lift_a_failure(
    command, small, storage
):
    def launch(name):
        return command("--trials", 2, *small, TITLE_SEARCH_LAUNCH=name)

    assert launch("container-1").returncode == 0
    study = the_study(storage)
    assert study.user_attrs[LAUNCH] == "container-1"
    set_budget(storage, study._study_id, n_trials=3)
    study.set_user_attr(STATE, "FAILED")
    study.set_user_attr(FAILURE, "5 trials failed in a row, the last with 'x'")
    for _ in range(2):
        again = launch("container-1")
        assert again.returncode == 1
        line = again.stderr.splitlines()[-1]
        assert line.startswith("error: 5 trials failed in a row, the last with 'x'; ")
        assert "`studies.py resume`" in line
    assert launch("container-2").returncode == 0
    assert the_study(storage).user_attrs[STATE] is None
