"""A study that is deleted under its workers' hands."""

from __future__ import annotations

import optuna
import sqlalchemy

from search.results.deletion import delete_study
from search.storage.rows import models

ENDED_TRIALS = 3_000


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
