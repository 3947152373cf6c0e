"""PostgreSQL through PgBouncer, whose transactions share the server's sessions."""

from __future__ import annotations

import psycopg
import pytest

from search.errors import StorageError
from search.storage.opening import open_storage

SETTINGS = [
    pytest.param({}, id="refuses-options"),
    pytest.param({"ignore_startup_parameters": "options"}, id="drops-options"),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_workers_behind_it_meet_the_budget(postgres, make_pgbouncer, make_fleet, settings):
    url = postgres.new_database(default_transaction_isolation="repeatable read")
    fleet = make_fleet(make_pgbouncer(**settings).url(url))
    fleet.start(4, create=True, n_trials=12, steps=8, grace=20.0)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert fleet.states() == {"COMPLETE": 12}
    assert "lost the storage" not in fleet.stderr()
    for trial in fleet.study().get_trials(deepcopy=False):
        assert sorted(trial.intermediate_values) == list(range(1, 9))


def test_a_transaction_behind_it_has_our_settings_and_leaves_none_behind(postgres, make_pgbouncer):
    url = postgres.new_database(default_transaction_isolation="repeatable read")
    # Of one session of the server: what one client leaves there, the next one finds.
    pooled = make_pgbouncer(default_pool_size="1").url(url)
    names = ("transaction_isolation", "lock_timeout", "idle_in_transaction_session_timeout")
    storage = open_storage(pooled)

    def settings(session, again):
        execute = session.connection().exec_driver_sql
        return [execute(f"SHOW {name}").scalar() for name in names]

    assert storage.transaction(settings) == ["read committed", "30s", "15s"]
    storage.close()
    with psycopg.connect(pooled.replace("+psycopg", ""), autocommit=True) as other:
        left = [other.execute(f"SHOW {name}").fetchone()[0] for name in names]
    assert left == ["repeatable read", "0", "0"]


def test_its_refusals_are_one_line(postgres, make_pgbouncer):
    with pytest.raises(StorageError, match="no such database: create it first"):
        open_storage(make_pgbouncer().url(postgres.url("nowhere")))


def test_workers_outlive_its_restart(postgres, make_pgbouncer, make_fleet):
    pgbouncer = make_pgbouncer()
    fleet = make_fleet(pgbouncer.url(postgres.new_database()))
    fleet.create(8)
    fleet.start(2, steps=10, step_seconds=0.1, grace=10.0)
    fleet.wait_for("step", count=10)
    pgbouncer.close()
    make_pgbouncer(pgbouncer.port)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert fleet.states() == {"COMPLETE": 8}
