"""What only a database server can do: refuse, go away, come back."""

from __future__ import annotations

import os
import time
import traceback

import pytest

from search.errors import StorageError
from search.storage.opening import open_storage

PASSWORD = "p4ss-word"


def _refusal(url):
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    text = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in text and "wr0ng" not in text
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_refused_password_is_one_line_without_it(postgres):
    assert "refused" in _refusal(postgres.url("postgres", password="wr0ng"))


def test_an_unknown_database_is_named(postgres):
    assert "no such database" in _refusal(postgres.url("nowhere"))


def test_an_unreachable_server_is_one_line():
    url = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/x"
    assert "cannot be used" in _refusal(url)


def test_short_names_of_the_driver_mean_psycopg(postgres):
    url = postgres.new_database().replace("postgresql+psycopg", "postgres")
    storage = open_storage(url)
    storage.close()
    assert storage.engine.driver == "psycopg"


def test_the_database_of_another_program_is_refused(postgres):
    url = postgres.new_database()
    with postgres.connect(url.rsplit("/", 1)[1]) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar)")
    assert "another program" in _refusal(url)


def test_an_outage_costs_no_trial_and_no_worker(postgres, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(14)
    fleet.start(2, steps=10, step_seconds=0.1, grace=6.0)
    fleet.wait_for("step", count=10)
    postgres.stop("immediate")
    time.sleep(12.0)
    postgres.start()
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert fleet.states() == {"COMPLETE": 14}
    assert "Traceback" not in fleet.stderr()
    trained = [(e["root"], e["step"]) for e in fleet.events("step")]
    assert len(trained) == len(set(trained)) == 140
    for trial in fleet.study().get_trials(deepcopy=False):
        assert sorted(trial.intermediate_values) == list(range(1, 11))


def test_a_cut_connection_is_mended(postgres, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(10)
    fleet.start(2, steps=10, step_seconds=0.05, grace=10.0)
    database = fleet.url.rsplit("/", 1)[1]
    with postgres.connect("postgres") as connection:
        for count in range(5, 45, 5):
            fleet.wait_for("step", count=count)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert fleet.states() == {"COMPLETE": 10}


def test_a_worker_gives_up_an_outage_with_one_line(postgres, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(5)
    (pid,) = fleet.start(1, steps=50, step_seconds=0.1, outage=2.0)
    fleet.wait_for("step")
    postgres.stop("immediate")
    try:
        assert fleet.wait() == {pid: 2}
    finally:
        postgres.start()
    assert "out of reach" in fleet.stderr() and PASSWORD not in fleet.stderr()
    assert "Traceback" not in fleet.stderr()


def test_workers_in_other_time_zones_leave_healthy_trials_alone(postgres_fleet, monkeypatch):
    fleet = postgres_fleet
    fleet.create(6)
    fleet.start(1, steps=20, step_seconds=0.1, grace=10.0)
    monkeypatch.setitem(os.environ, "PGTZ", "America/Argentina/Buenos_Aires")
    monkeypatch.setitem(os.environ, "TZ", "America/Argentina/Buenos_Aires")
    fleet.start(1, steps=20, step_seconds=0.1, grace=10.0)
    assert set(fleet.wait().values()) == {0}
    assert fleet.states() == {"COMPLETE": 6}
