"""What only a database server can do: refuse, go away, come back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc, text

from search.errors import StorageError, StorageLost
from search.storage.budget import Verdict, set_budget
from search.storage.opening import open_storage
from search.storage.outages import is_outage
from search.storage.rows import lock_study
from search.storage.trial_queue import claim

ROOT = Path(__file__).resolve().parents[2]
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
        assert fleet.wait() == {pid: 1}  # the same command may do later
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


# From PostgreSQL's own list, chapter "Error Codes": what passes by itself, and what does not.
PASSING = {
    "08006": "connection failure",
    "08P01": "protocol violation, of which all errors of PgBouncer are",
    "25006": "read-only transaction",
    "25P03": "idle in transaction",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57014": "query canceled",
    "57P01": "admin shutdown",
    "57P03": "cannot connect now",
    "58030": "io error",
}
LASTING = {
    "0A000": "feature not supported",
    "22001": "string too long",
    "23505": "unique violation",
    "28P01": "invalid password",
    "42501": "insufficient privilege",
    "42601": "syntax error",
    "42P01": "undefined table",
    "XX000": "internal error",
}


@pytest.fixture(scope="module")
def server(postgres):
    storage = open_storage(postgres.new_database(), outage_seconds=0.0)
    yield storage
    storage.close()


@pytest.mark.parametrize("code", [*PASSING, *LASTING])
def test_an_outage_is_told_by_the_servers_code(server, code):
    def work(session, again):
        raising = f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$"
        session.execute(text(raising))

    with pytest.raises(StorageInternalError) as caught:
        server.transaction(work, patient=False)
    assert is_outage(caught.value) == (code in PASSING)
    with pytest.raises(StorageLost if code in PASSING else StorageInternalError, match="so"):
        server.transaction(work)


def test_whatever_a_call_meets_is_the_storages_error_in_one_line(postgres):
    """And so none of the trial's: a worker ends with it, and hands its trial on."""
    url = postgres.new_database()
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    trial_id = study.ask()._trial_id
    with postgres.connect(url.rsplit("/", 1)[1]) as connection:
        connection.execute("ALTER TABLE trial_intermediate_values ADD CHECK (step < 5)")

    def unique(session, again):
        session.execute(text("INSERT INTO studies VALUES (1, 'a'), (1, 'b')"))

    calls = [
        lambda: storage.set_trial_intermediate_value(trial_id, 5, 0.5),
        lambda: storage.transaction(unique),
        lambda: storage.transaction(unique, patient=False),
    ]
    for call in calls:
        with pytest.raises(StorageInternalError, match="violates") as caught:
            call()
        assert isinstance(caught.value.__cause__, exc.IntegrityError)
        line = str(caught.value)
        assert line.startswith("storage postgresql") and PASSWORD not in line
        assert "\n" not in line
    storage.close()


@pytest.mark.parametrize("command", ["list", "show", "pause", "delete"])
def test_what_the_database_refuses_a_command_is_one_line(postgres, tmp_path, command):
    url = postgres.new_database()
    with closing(open_storage(url)) as storage:
        optuna.create_study(storage=storage, study_name="mine")
    with postgres.connect(url.rsplit("/", 1)[1]) as connection:
        connection.execute("ALTER TABLE study_user_attributes RENAME COLUMN value_json TO other")
    arguments = [command, "--storage", url, "--out", str(tmp_path)]
    arguments += ["--study", "mine"] * (command != "list") + ["--yes"] * (command == "delete")
    script = [sys.executable, ROOT / "studies.py"]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: storage postgresql") and done.stderr.count("\n") == 1
    assert "value_json" in done.stderr and PASSWORD not in done.stderr


def test_a_report_that_the_database_refuses_ends_the_worker_and_not_the_trial(
    postgres, postgres_fleet
):
    fleet = postgres_fleet
    fleet.create(2)
    with postgres.connect(fleet.url.rsplit("/", 1)[1]) as connection:
        connection.execute("ALTER TABLE trial_intermediate_values ADD CHECK (step < 3)")
    (pid,) = fleet.start(1)
    assert fleet.wait() == {pid: 2}
    assert "violates check constraint" in fleet.stderr() and "Traceback" not in fleet.stderr()
    first, second = fleet.study().trials
    assert first.state.name == "FAIL" and "error" not in first.user_attrs
    assert second.state.name == "WAITING" and second.user_attrs["failures"] == 0


def test_a_server_that_is_read_only_for_a_while_costs_no_trial_and_no_worker(
    postgres, postgres_fleet
):
    fleet = postgres_fleet
    fleet.create(10)
    fleet.start(2, steps=10, step_seconds=0.1, grace=6.0)
    fleet.wait_for("step", count=10)
    postgres.become_standby()
    try:
        time.sleep(8.0)
        before = len(fleet.events("step"))
        time.sleep(2.0)
        assert len(fleet.events("step")) == before
    finally:
        postgres.promote()
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert "in a read-only transaction" in postgres.log()
    assert fleet.states() == {"COMPLETE": 10}
    trained = [(e["root"], e["step"]) for e in fleet.events("step")]
    assert len(trained) == len(set(trained)) == 100


def test_connections_to_a_server_that_became_read_only_are_not_kept(postgres):
    url = postgres.new_database()
    database = url.rsplit("/", 1)[1]
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)

    def set_default(read_only):
        with postgres.connect("postgres") as connection:
            setting = f"SET default_transaction_read_only = {read_only}"
            connection.execute(f"ALTER DATABASE {database} {setting}")

    set_default("on")
    storage.engine.dispose()
    allow = threading.Timer(1.0, set_default, ["off"])
    allow.start()
    # A session keeps the default that it began with: it is by a new one that this ends.
    study.set_user_attr("written", 1)
    assert study.user_attrs == {"written": 1}
    allow.join()
    storage.close()


def test_a_read_only_server_without_tables_is_refused(postgres):
    refused = _refusal(postgres.new_database(default_transaction_read_only="on"))
    assert "the server is read-only: give the address of the primary" in refused


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable", "read committed"])
def test_the_databases_own_isolation_breaks_no_budget(postgres, isolation):
    url = postgres.new_database(default_transaction_isolation=isolation)
    storage, other = open_storage(url), open_storage(url)
    study = optuna.create_study(storage=storage)
    set_budget(storage, study._study_id, n_trials=1)
    claimed = []

    def claim_in_time(session, again):
        lock_study(session, study._study_id)
        late.start()
        time.sleep(1.0)  # it waits for the lock by now
        session.connection().exec_driver_sql(
            "INSERT INTO trials (number, study_id, state) VALUES (0, %s, 'RUNNING')",
            (study._study_id,),
        )

    def claim_late():
        claimed.append(claim(other, study._study_id, token="late", worker="late"))

    late = threading.Thread(target=claim_late)
    storage.transaction(claim_in_time)
    late.join()
    assert claimed == [Verdict.WAIT]
    storage.close()
    other.close()


@pytest.mark.chaos
def test_64_workers_that_join_a_database_of_repeatable_read_meet_the_budget(postgres, make_fleet):
    fleet = make_fleet(postgres.new_database(default_transaction_isolation="repeatable read"))
    fleet.create(150)
    fleet.start(64, steps=2, heartbeat=10.0, grace=120.0)
    assert set(fleet.wait(420).values()) == {0}, fleet.stderr()
    assert fleet.states() == {"COMPLETE": 150}
    trials = fleet.study().get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(150))
    assert len({trial.user_attrs["configuration"] for trial in trials}) == 150
