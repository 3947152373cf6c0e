"""Listing and status: right figures, from a few queries."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import studies
from search.errors import SearchError
from search.results.finding import find_storage, find_study
from search.results.listing import OTHER_PROGRAM, OTHER_VERSION, OURS, list_studies
from search.results.status import read_status
from search.storage.budget import set_budget
from search.storage.control import pause
from search.storage.rows import models
from search.storage.trial_queue import claim
from search.study import SETTINGS_ATTR, limits_in


def add(study, value, state=TrialState.COMPLETE, **attributes):
    study.add_trial(
        create_trial(
            state=state,
            value=value,
            params={"dropout": 0.5},
            distributions={"dropout": FloatDistribution(0, 1)},
            user_attrs=attributes,
        )
    )


def take(storage, study, name="host:1"):
    """A trial RUNNING for a worker of this name."""
    return claim(storage, study._study_id, token=f"token-{name}", worker=name)


def silence(storage, trial_id, seconds):
    """Let the trial's last sign of life be so long ago."""

    def work(session, again):
        beat = models.TrialHeartbeatModel.where_trial_id(trial_id, session)
        beat.heartbeat -= timedelta(seconds=seconds)

    storage.transaction(work)


def test_a_study_is_listed_with_what_it_is_and_how_far(storage, new_study, settings):
    study = new_study(n_trials=9, name="mine")
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    for value in (0.25, 0.75, 0.5):
        add(study, value)
    add(study, 0.9, TrialState.PRUNED)
    [listed] = list_studies(storage)
    found = listed.as_json()
    age = datetime.now(UTC) - datetime.fromisoformat(found.pop("last_activity"))
    assert abs(age) < timedelta(minutes=1)
    assert found == {
        "name": "mine",
        "made_by": OURS,
        "model": "mlp",
        "data": "titles",
        "data_fingerprint": "d1",
        "trials": {"COMPLETE": 3, "PRUNED": 1},
        "n_trials": 9,
        "best_value": 0.75,
    }


def test_a_study_of_another_program_is_named_as_such(storage):
    optuna.create_study(storage=storage, study_name="theirs")
    [listed] = list_studies(storage)
    assert (listed.made_by, listed.settings, listed.n_trials) == (OTHER_PROGRAM, {}, None)


def test_a_study_of_another_version_still_says_what_it_was(storage, new_study):
    study = new_study()
    study.set_user_attr(SETTINGS_ATTR, json.dumps({"model": "cnn", "data_name": "old"}))
    [listed] = list_studies(storage)
    assert (listed.made_by, listed.as_json()["data"]) == (OTHER_VERSION, "old")


FOREIGN = [
    {"lr": 0.1},
    "hello",
    '{"lr": 0.1}',
    "[1, 2]",
    "null",
    "{",
    5,
    None,
    ["model"],
    json.dumps({"model": "mlp", "data_name": "d", "limits": "none"}),
    json.dumps({"model": "mlp", "data_name": "d", "limits": {"size_mb": "10"}}),
    json.dumps({"model": ["mlp"], "data_name": "d"}),
]


@pytest.mark.parametrize("theirs", FOREIGN)
def test_whatever_another_program_calls_settings_its_study_is_listed_and_shown(
    storage, tmp_path, capsys, theirs
):
    study = optuna.create_study(storage=storage, study_name="theirs")
    attributes = {
        SETTINGS_ATTR: theirs,
        "n_trials": "many",
        "deadline": "tomorrow",
        "control": "done",
        "state": "done",
        "key": 5,
    }
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    add(study, 0.5)
    where = ["--storage", storage.display_url, "--study", "theirs"]
    for command in (["list"], ["list", "--json"]):
        assert studies.main([*command, *where[:2]]) == 0
    for command in (["show"], ["show", "--json"], ["show", "--trial", "0"], ["status"]):
        assert studies.main([*command, *where]) == 0
    assert "made by another program" in capsys.readouterr().out
    for command in (["report"], ["export"], ["pause"]):
        assert studies.main([*command, *where]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: study 'theirs' was not made by this program")
    [listed] = list_studies(storage)
    assert (listed.made_by, listed.settings, listed.n_trials) == (OTHER_PROGRAM, {}, None)
    assert limits_in(study) == {}
    status = read_status(storage, study)
    assert (status.n_trials, status.deadline_seconds, status.held) == (None, None, None)


def test_a_deadline_with_an_offset_is_another_programs(storage):
    study = optuna.create_study(storage=storage, study_name="theirs")
    study.set_user_attr("deadline", "2026-10-25T00:00:00+00:00")
    assert read_status(storage, study).deadline_seconds is None


def test_the_best_of_a_minimised_study_is_its_lowest(storage):
    study = optuna.create_study(storage=storage, study_name="low", direction="minimize")
    for value in (0.5, 0.25, float("inf")):
        add(study, value)
    assert list_studies(storage)[0].best_value == 0.25
    assert read_status(storage, study).best.value == 0.25


def test_several_objectives_have_no_single_best(storage):
    study = optuna.create_study(
        storage=storage, study_name="two", directions=["minimize", "maximize"]
    )
    study.add_trial(create_trial(values=[1.0, 2.0]))
    assert list_studies(storage)[0].best_value is None
    assert read_status(storage, study).best is None


def test_studies_come_with_the_latest_activity_first(storage, new_study):
    for name in ("old", "new", "untouched"):
        new_study(name=name)
    for name in ("old", "new"):
        add(optuna.load_study(study_name=name, storage=storage), 0.5)
        time.sleep(0.01)
    assert [study.name for study in list_studies(storage)] == ["new", "old", "untouched"]


def test_of_equal_trials_the_first_is_the_best(storage, new_study):
    study = new_study(n_trials=5)
    for value in (0.1, 0.7, 0.7):
        add(study, value)
    assert read_status(storage, study).best.number == 1


def test_a_running_trial_is_shown_with_its_worker_and_epoch(storage, new_study, settings):
    study = new_study(n_trials=5)
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    trial_id = take(storage, study).trial_id
    for step, value in ((1, 0.1), (6, 0.4)):
        storage.set_trial_intermediate_value(trial_id, step, value)
    [running] = read_status(storage, study).running
    assert (running.number, running.worker, running.attempt) == (0, "host:1", 1)
    assert (running.step, running.value, running.epoch, running.max_epochs) == (6, 0.4, 1.5, 3)
    assert 0 <= running.silent_seconds < storage.grace_seconds and not running.stale


def test_a_silent_worker_is_stale_and_not_counted_as_alive(storage, new_study):
    study = new_study(n_trials=5)
    take(storage, study, "host:1")
    silence(storage, take(storage, study, "host:2").trial_id, storage.grace_seconds + 1)
    status = read_status(storage, study)
    assert [(t.worker, t.stale) for t in status.running] == [("host:1", False), ("host:2", True)]
    assert status.workers_alive == 1


def test_the_time_left_is_the_missing_trials_at_the_pace_of_late(storage, new_study):
    study = new_study(n_trials=10)
    now = datetime.now()
    for seconds in (100, 100, 10, 10):
        trial = create_trial(value=0.5)
        trial.datetime_start, trial.datetime_complete = now - timedelta(seconds=seconds), now
        study.add_trial(trial)
    assert read_status(storage, study).left_seconds is None  # nobody works
    for name in ("host:1", "host:2"):
        take(storage, study, name)
    assert read_status(storage, study).left_seconds == pytest.approx(6 * 55 / 2)


def test_the_deadline_bounds_the_time_left(storage, new_study):
    study = new_study(n_trials=100)
    set_budget(storage, study._study_id, n_trials=100, timeout_seconds=50)
    for _ in range(2):
        add(study, 0.5)
    take(storage, study)
    status = read_status(storage, study)
    assert 40 < status.deadline_seconds <= 50
    assert status.left_seconds <= 50


def test_a_paused_study_says_so(storage, new_study):
    study = new_study(n_trials=5)
    assert read_status(storage, study).held is None
    pause(storage, study._study_id)
    assert read_status(storage, study).held == "the study is paused"


def test_the_status_of_a_large_study_takes_few_queries(storage, new_study):
    study = new_study(n_trials=300)
    for value in range(40):
        add(study, value / 100)
    count = []
    sqlalchemy.event.listen(
        storage.engine, "before_cursor_execute", lambda *args: count.append(args[2])
    )
    read_status(storage, study)
    few = len(count)
    assert few > 0
    for value in range(40):
        add(study, value / 100)
    count.clear()
    read_status(storage, study)
    assert len(count) == few


def test_reading_creates_no_database(tmp_path):
    with pytest.raises(SearchError, match="there are no studies in"):
        find_storage(f"sqlite:///{tmp_path}/typo.db", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_proxy_is_refused_where_the_database_is_needed(tmp_path):
    with pytest.raises(SearchError, match="database behind it"):
        find_storage("grpc://127.0.0.1:1", out=tmp_path)


def test_an_unknown_name_is_answered_with_the_known_ones(storage, new_study):
    new_study(name="one")
    assert find_study(storage, None).study_name == "one"
    new_study(name="two")
    with pytest.raises(SearchError, match="no study 'three'.*: one, two"):
        find_study(storage, "three")
    with pytest.raises(SearchError, match="give --study NAME.*: one, two"):
        find_study(storage, None)
