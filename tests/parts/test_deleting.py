"""A study that is deleted under its workers' hands."""

from __future__ import annotations

import optuna

from search.results.deletion import delete_study


def test_workers_of_a_deleted_study_end_with_one_line(fleet, tmp_path):
    fleet.create(50)
    fleet.start(2, steps=10, step_seconds=0.1)
    fleet.wait_for("step", count=6)
    delete_study(fleet.storage, fleet.study(), out=tmp_path, force=True)
    assert set(fleet.wait().values()) == {2}, fleet.stderr()
    assert "Traceback" not in fleet.stderr()
    assert optuna.get_all_study_names(fleet.storage) == []
