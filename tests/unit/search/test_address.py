"""MLflow is not given the database of the studies, under whatever spelling."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from search.errors import SearchError
from search.tracking.address import check_tracking


@pytest.mark.parametrize(
    ("storage", "tracking"),
    [
        ("sqlite:///one.db", "sqlite:///one.db"),
        ("sqlite:///one.db", "sqlite:///{here}/one.db"),
        ("sqlite:///{here}/one.db", "sqlite:///{here}/./sub/../one.db"),
        ("sqlite:///one.db", "sqlite:///link.db"),
        ("sqlite:///hard.db", "sqlite:///real.db"),
        ("sqlite+pysqlite:///one.db", "sqlite:///one.db"),
        ("postgresql://u:p@db/one", "postgresql+psycopg://other:q@DB:5432/one"),
        ("postgres://localhost/one", "postgresql+psycopg2://127.0.0.1:5432/one"),
        ("postgresql:///one?host=/var/run/postgresql", "postgresql://localhost/one"),
        ("postgresql://{name}:7/one", "postgresql:///one?port=7"),
        ("postgresql://one@db", "postgresql://db/one"),
    ],
)
def test_the_database_of_the_studies_is_refused(storage, tracking, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("one.db")
    for real in ("real.db",):
        Path(real).touch()
        os.link(real, "hard.db")
    before = sorted(tmp_path.iterdir())
    places = {"here": tmp_path, "name": socket.gethostname()}
    with pytest.raises(SearchError, match="both name the database") as caught:
        check_tracking(tracking.format(**places), storage.format(**places))
    assert "\n" not in str(caught.value) and ":p@" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("storage", "tracking"),
    [
        ("sqlite:///one.db", "sqlite:///other.db"),
        ("sqlite:///one.db", "http://127.0.0.1:5000"),
        ("postgresql://db/one", "postgresql://db/other"),
        ("postgresql://db/one", "postgresql://db:5433/one"),
        ("postgresql://db/one", "mysql://db/one"),
        ("postgresql://127.0.0.1/one", "postgresql://192.0.2.77/one"),
        (
            "postgresql://db/one?options=-csearch_path%3Da",
            "postgresql://db/one?options=-csearch_path%3Db",
        ),
        ("grpc://127.0.0.1:13000", "sqlite:///one.db"),
    ],
)
def test_another_place_is_taken(storage, tracking, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_tracking(tracking, storage)
    assert list(tmp_path.iterdir()) == []
