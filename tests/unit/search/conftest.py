from __future__ import annotations

import contextlib
import sqlite3

import optuna
import pytest

from search.budget import set_budget
from search.storage import open_storage


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(
        f"sqlite:///{tmp_path}/study.db", heartbeat_seconds=1, grace_seconds=3, outage_seconds=20
    )
    yield opened
    opened.close()


@pytest.fixture
def new_study(storage):
    def create(n_trials=None, name="toy", **budget):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        set_budget(storage, study._study_id, n_trials=n_trials, **budget)
        return study

    return create


@pytest.fixture
def lose_answers():
    """Let the next writing transactions be committed, then fail as if the line had been cut."""

    @contextlib.contextmanager
    def lose(storage, count):
        left = [count]
        dialect = storage.engine.dialect
        commit = dialect.do_commit

        def commit_and_fail(connection):
            writing = not getattr(storage._local, "reading", False)
            commit(connection)
            if writing and left[0] > 0:
                left[0] -= 1
                raise sqlite3.OperationalError("connection lost")

        dialect.do_commit = commit_and_fail
        yield
        dialect.do_commit = commit
        assert left == [0]

    return lose
