from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading

import optuna
import pytest
from sqlalchemy.engine import make_url

from search.errors import StorageError
from search.storage.connecting import absolute, engine_kwargs, parse
from search.storage.opening import open_storage


def _refusal(url):
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("study.db", "is not a URL"),
        ("mysql://me:s3cret@host/db", "mysql is not supported"),
        ("redis://host", "redis is not supported"),
        ("sqlite://", "workers share a file"),
        ("sqlite:///:memory:", "workers share a file"),
        ("postgresql://me:s3cret@host:port/db", "cannot be read as a URL"),
        ("postgresql://me:p@s3cret@host/db", "an @ of the password as %40"),
    ],
)
def test_a_wrong_url_is_one_line(url, words):
    message = _refusal(url)
    assert words in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("sqlite:///study.db", "sqlite:///{here}/study.db"),
        ("sqlite:///{here}/study.db", "sqlite:///{here}/study.db"),
        ("sqlite:///a%3Fb/study.db", "sqlite:///{here}/a?b/study.db"),
        ("postgresql://me:s3cret@host/db", "postgresql://me:s3cret@host/db"),
        ("grpc://host:1", "grpc://host:1"),
    ],
)
def test_an_absolute_url_names_the_same_storage_from_any_folder(url, same, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = absolute(url.format(here=tmp_path))
    expected = same.format(here=tmp_path)
    if url.startswith("sqlite"):
        assert make_url(found).database == expected.removeprefix("sqlite:///")
    else:
        assert found == expected


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3@cret@host/db",
        "postgresql://me:s3/cr@et@host:5432/db",
        "postgres://me:s3@cr/et@host/db",
        "postgresql://me:s3@cret:x@host:5432/db",
    ],
)
def test_a_password_that_is_not_escaped_is_said_and_not_shown(url):
    message = _refusal(url)
    assert "//me:***@host" in message
    assert "cannot be read as a URL" in message and "an @ of the password as %40" in message
    assert "s3" not in message and "cret" not in message and "et@" not in message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/db", "is the server running at this address?"),
        ("postgresql://me:s3cret@127.0.0.1:1/db?sslmod=require", "mend the part of the URL"),
        ("postgresql://me:s3cret@127.0.0.1:1/db?sslmode=sure", "mend the part of the URL"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line(url, words):
    message = _refusal(url)
    assert words in message and "s3cret" not in message


def test_an_escaped_password_is_read(url="postgresql://me%40corp:p%40s%2Fs@host/d%40b"):
    assert parse(url).username == "me@corp" and parse(url).password == "p@s/s"


def test_a_file_that_is_no_database_is_refused(tmp_path):
    file = tmp_path / "notes.db"
    file.write_text("not a database, but long enough to have a header\n" * 50)
    assert "not an SQLite database" in _refusal(f"sqlite:///{file}")


def test_a_folder_is_no_database(tmp_path):
    assert "directory" in _refusal(f"sqlite:///{tmp_path}")


def test_a_damaged_database_is_refused(tmp_path):
    file = tmp_path / "study.db"
    file.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    assert "damaged" in _refusal(f"sqlite:///{file}")


def test_a_database_of_another_program_is_refused(tmp_path):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    assert "another program" in _refusal(f"sqlite:///{file}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "permission" in _refusal(f"sqlite:///{tmp_path}/study.db")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE alembic_version SET version_num = 'v3.0.0.d'", "older Optuna"),
        ("UPDATE alembic_version SET version_num = 'v9.9.9.a'", "newer Optuna"),
        ("UPDATE version_info SET library_version = '4.9.0'", "made by Optuna 4.9.0"),
    ],
)
def test_a_database_of_another_version_is_refused(tmp_path, statement, words):
    file = tmp_path / "study.db"
    open_storage(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()
    assert words in _refusal(f"sqlite:///{file}")


def test_a_missing_folder_is_made_and_the_file_uses_wal(tmp_path):
    file = tmp_path / "runs" / "study.db"
    open_storage(f"sqlite:///{file}").close()
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_new_file_that_another_process_has_locked_is_waited_for(tmp_path):
    file = tmp_path / "study.db"
    with contextlib.closing(sqlite3.connect(file, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.3, other.rollback).start()
        options = engine_kwargs(make_url(f"sqlite:///{file}"))["connect_args"]
        # Without SQLite's own wait, which a file that is switched to WAL does not get.
        with contextlib.closing(sqlite3.connect(file, **options | {"timeout": 0})) as opened:
            assert opened.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_grace_shorter_than_two_heartbeats_is_refused(tmp_path):
    with pytest.raises(StorageError, match="healthy trials"):
        open_storage(f"sqlite:///{tmp_path}/a.db", heartbeat_seconds=10, grace_seconds=15)


def test_an_enqueued_trial_is_not_doubled_when_the_answer_is_lost(tmp_path, lose_answers):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage)
    with lose_answers(storage, 2):
        study.enqueue_trial({"x": 1})
    assert len(study.get_trials()) == 1


def test_the_end_of_a_trial_survives_a_lost_answer(tmp_path, lose_answers):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    with lose_answers(storage, 1):
        storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.COMPLETE, [1.0])
    assert study.trials[0].value == 1.0


def test_opening_a_storage_again_takes_no_lock_off_the_first_one(tmp_path):
    """Else the other process, the last one as it believes, would take the WAL away from it."""
    url = f"sqlite:///{tmp_path}/study.db"
    with contextlib.closing(open_storage(url)) as first:
        study = optuna.create_study(storage=first, study_name="a")
        open_storage(url).close()
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM').close()"
        subprocess.run([sys.executable, "-c", other, tmp_path / "study.db"], check=True)
        assert (tmp_path / "study.db-wal").exists()
        study.set_user_attr("still", "there")
    with contextlib.closing(open_storage(url)) as again:
        loaded = optuna.load_study(storage=again, study_name="a")
        assert loaded.user_attrs == {"still": "there"}
