"""A study that is deleted under its workers' hands, and what comes in its place."""

from __future__ import annotations

from contextlib import closing

import optuna
import pytest
import sqlalchemy

from search.results.deletion import delete_study
from search.storage.control import pause
from search.storage.opening import open_storage
from search.storage.rows import models
from search.storage.trial_queue import claim

ENDED_TRIALS = 3_000
GONE = "error: the study was deleted: "


def test_workers_of_a_deleted_study_end_with_one_line(fleet, tmp_path):
    fleet.create(50)
    fleet.start(2, steps=10, step_seconds=0.1)
    fleet.wait_for("step", count=6)
    delete_study(fleet.storage, fleet.study(), out=tmp_path, force=True)
    assert set(fleet.wait().values()) == {2}, fleet.stderr()
    assert "Traceback" not in fleet.stderr()
    assert optuna.get_all_study_names(fleet.storage) == []


def test_a_large_study_is_deleted_while_workers_report_all_the_time(postgres_fleet, tmp_path):
    fleet = postgres_fleet
    study = fleet.create(50)
    fleet.start(3, steps=1_000_000, step_seconds=0.0005)
    fleet.wait_for("step", count=50)
    add_ended_trials(fleet.storage, study._study_id)
    delete_study(fleet.storage, study, out=tmp_path, force=True)
    assert set(fleet.wait().values()) == {2}, fleet.stderr()
    assert "Traceback" not in fleet.stderr()
    assert rows(fleet.storage) == 0


def add_ended_trials(storage, study_id):
    """With values, which are what takes the time to delete."""
    numbers = range(1000, 1000 + ENDED_TRIALS)

    def work(session, again):
        trial = models.TrialModel.__table__
        given = [{"study_id": study_id, "number": n, "state": "FAIL"} for n in numbers]
        ids = session.scalars(sqlalchemy.insert(trial).returning(trial.c.trial_id), given).all()
        attribute = models.TrialUserAttributeModel.__table__
        values = [{"trial_id": i, "key": "a", "value_json": "1" * 500} for i in ids]
        session.execute(sqlalchemy.insert(attribute), values)

    storage.transaction(work)


def rows(storage):
    def work(session, again):
        tables = models.BaseModel.metadata.sorted_tables
        return sum(session.query(t).count() for t in tables if t.name != "version_info")

    return storage.transaction(work, reading=True)


def everything(storage):
    """All rows of the database."""

    def work(session, again):
        tables = models.BaseModel.metadata.sorted_tables
        return {t.name: session.execute(sqlalchemy.select(t)).fetchall() for t in tables}

    return storage.transaction(work, reading=True)


@pytest.mark.parametrize("name", ["toy", "other"])
def test_a_worker_that_waits_leaves_the_successor_of_its_study_alone(
    fleet, make_fleet, tmp_path, name
):
    study = fleet.create(5)
    pause(fleet.storage, study._study_id)
    fleet.start(1)
    fleet.wait_for("wait")
    delete_study(fleet.storage, study, out=tmp_path)
    successor = make_fleet(fleet.url)
    successor.study_name = name
    successor.create(5).enqueue_trial({"x": 0.5})
    before = everything(successor.storage)
    assert set(fleet.wait().values()) == {2}, fleet.stderr()
    assert fleet.stderr().startswith(GONE) and len(fleet.stderr().splitlines()) == 1
    assert everything(successor.storage) == before


def test_a_worker_within_a_trial_leaves_the_trials_of_another_study_alone(fleet, tmp_path):
    fleet.create(5)
    (pid,) = fleet.start(1, steps=10, step_seconds=0.3)
    fleet.wait_for("step", count=2)
    delete_study(fleet.storage, fleet.study(), out=tmp_path, force=True)
    # In SQLite it has the ids of the one before, and so has its trial.
    fleet.study_name = "next"
    claim(fleet.storage, fleet.create(5)._study_id, token="next", worker="host:1")
    before = everything(fleet.storage)
    assert fleet.wait() == {pid: 2}, fleet.stderr()
    errors = [line for line in fleet.stderr().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(GONE)
    assert "Traceback" not in fleet.stderr()
    assert everything(fleet.storage) == before


def test_a_worker_whose_trial_was_lost_in_a_failover_goes_on(fleet):
    study = fleet.create(2)
    fleet.start(1, steps=10, step_seconds=0.4)
    fleet.wait_for("step", count=2)
    fleet.lose_running()
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert "Traceback" not in fleet.stderr()
    assert [event["state"] for event in fleet.events("end")] == ["RUNNING", *["COMPLETE"] * 2]
    with closing(open_storage(fleet.url)) as with_fresh_eyes:
        trials = with_fresh_eyes.get_all_trials(study._study_id)
    assert [(t.number, t.state.name) for t in trials] == [(n, "COMPLETE") for n in range(2)]
