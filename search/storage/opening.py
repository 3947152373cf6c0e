"""Storage URL -> storage: SQLite or PostgreSQL, its tables made, its faults said in one line."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import exc
from sqlalchemy.engine import URL, Engine, make_url

from search.errors import StorageError
from search.storage.operations import StudyStorage
from search.storage.overrides import SearchStorage, one_line

# Any number: the one advisory lock under which tables are created.
_TABLES_LOCK = 7_253_081_906
_BUSY_SECONDS = 60.0
_POSTGRES_OPTIONS = (
    # Optuna writes naive times: all sessions have to mean the same zone.
    "-c timezone=UTC -c statement_timeout=60000 -c lock_timeout=30000 "
    # A worker that is stopped within a transaction must not hold the study's lock for long.
    "-c idle_in_transaction_session_timeout=15000"
)


def open_storage(
    url: str,
    *,
    heartbeat_seconds: float = 10.0,
    grace_seconds: float = 60.0,
    outage_seconds: float = 120.0,
) -> StudyStorage:
    """Open the storage at ``url``, creating its tables if they are missing.

    Any number of processes may call this at once on an empty database.

    Args:
        url: ``sqlite:///file.db``, ``postgresql+psycopg://user:password@host:port/database``
            (``postgresql://`` and ``postgres://`` mean the same), or ``grpc://host:port`` of a
            proxy in front of one.
        heartbeat_seconds: How often a worker says that it lives, and looks for others that don't.
        grace_seconds: How long a worker may be silent before its trial is given to another.
        outage_seconds: How long a call waits for a database that has gone away.

    Raises:
        StorageError: One line without the password: what is wrong and what to do.
    """
    if grace_seconds < 2 * heartbeat_seconds:
        raise StorageError(
            f"a grace of {grace_seconds:g} s is less than two heartbeats of "
            f"{heartbeat_seconds:g} s: healthy trials would be taken away"
        )
    if not is_proxy(url):
        return open_database(
            url,
            heartbeat_seconds=heartbeat_seconds,
            grace_seconds=grace_seconds,
            outage_seconds=outage_seconds,
        )
    from search.storage.proxy_client import ProxyStorage

    return ProxyStorage(
        url,
        heartbeat_seconds=heartbeat_seconds,
        grace_seconds=grace_seconds,
        outage_seconds=outage_seconds,
    )


def is_proxy(url: str) -> bool:
    """Whether the storage is a proxy's address, and not a database's URL."""
    return url.startswith("grpc://")


def open_database(
    url: str,
    *,
    heartbeat_seconds: float = 10.0,
    grace_seconds: float = 60.0,
    outage_seconds: float = 120.0,
    connections: int = 2,
) -> SearchStorage:
    """As ``open_storage``, for a database.

    Args:
        connections: To PostgreSQL, kept open; a worker's trial and its heartbeat take one each.
    """
    parsed = _parse(url)
    create_tables(url)
    with _explained(parsed):
        return SearchStorage(
            _text(parsed),
            _engine_kwargs(parsed, connections),
            heartbeat_seconds=heartbeat_seconds,
            grace_seconds=grace_seconds,
            outage_seconds=outage_seconds,
            display_url=redact(url),
        )


def redact(url: str) -> str:
    """``url``, or a text with URLs, fit to be shown: without passwords."""
    hidden = re.sub(r"(?i)([?&;]\w*(?:password|secret|token)\w*=)[^&;#\s]*", r"\1***", url)
    # To the last @: people forget to escape an @ in a password.
    return re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", hidden)


def create_tables(url: str) -> None:
    """Create Optuna's tables in the database at ``url`` unless they are there.

    Raises:
        StorageError: The database cannot be reached, is not Optuna's, or is of another version.
    """
    if is_proxy(url):
        open_storage(url).close()  # its proxy has created them
        return
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite_file(parsed)
    with _explained(parsed):
        engine = sqlalchemy.create_engine(_text(parsed), **_engine_kwargs(parsed))
        try:
            if not _tables_are_ready(engine, parsed):
                with _creating_alone(engine, parsed):
                    if not _tables_are_ready(engine, parsed):
                        _create(parsed)
        finally:
            engine.dispose()


def _parse(url: str) -> URL:
    if "://" not in url:
        raise StorageError(
            f"storage {redact(url)!r} is no URL: give sqlite:///study.db or "
            "postgresql+psycopg://user:password@host/database"
        )
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise StorageError(
            f"storage {redact(url)!r} cannot be read as a URL: write special characters of the "
            "password as %XX"
        ) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise StorageError(
            f"storage {redact(url)!r}: {parsed.drivername} is not supported, use sqlite:///…, "
            "postgresql+psycopg://… or grpc://…"
        )
    if not parsed.database or parsed.database == ":memory:" or "uri" in parsed.query:
        raise StorageError(
            f"storage {url!r}: workers share a file, give its name: sqlite:///study.db"
        )
    return parsed


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _engine_kwargs(url: URL, connections: int = 2) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        # isolation_level None: the driver begins no transactions, SearchStorage does.
        return {
            "connect_args": {
                "timeout": _BUSY_SECONDS,
                "isolation_level": None,
                "factory": _SQLiteConnection,
            }
        }
    options = url.query.get("options", "")
    return {
        "pool_pre_ping": True,
        "pool_size": connections,
        "max_overflow": 3,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": 10,
            "options": f"{_POSTGRES_OPTIONS} {options}".strip(),
            "application_name": "title-search",
            # A host that vanished is noticed within 30 s.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        },
    }


class _SQLiteConnection(sqlite3.Connection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # WAL: readers and one writer at a time don't wait for each other. With it, NORMAL loses
        # nothing when a process dies, and at worst the last moments when the machine does.
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def _check_sqlite_file(url: URL) -> None:
    file = Path(str(url.database))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        header = b""
        if file.exists():
            with file.open("rb") as opened:
                header = opened.read(16)
    except OSError as error:
        raise StorageError(f"storage {file}: {error.strerror}") from None
    if header and header != b"SQLite format 3\0":
        raise StorageError(f"storage {file} is no SQLite database: give another file name")
    for path in (file.parent, file) if file.exists() else (file.parent,):
        if not os.access(path, os.W_OK):
            raise StorageError(f"storage {file}: no permission to write {path}")
    if header:
        _refuse_foreign(_table_names(file), url)


def _table_names(file: Path) -> set[str]:
    """Read before the first connection of ours, which switches the file to WAL for good."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as reader:
            rows = reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
    except sqlite3.DatabaseError as error:
        raise StorageError(f"storage {file}: {error}: give another file name") from None


def _refuse_foreign(names: set[str], url: URL) -> None:
    if names and not names & set(models.BaseModel.metadata.tables):
        raise StorageError(
            f"storage {redact(_text(url))} holds the tables of another program: give the "
            "study a database of its own"
        )


def _tables_are_ready(engine: Engine, url: URL) -> bool:
    names = set(sqlalchemy.inspect(engine).get_table_names())
    ours = set(models.BaseModel.metadata.tables)
    _refuse_foreign(names if engine.dialect.name == "sqlite" else names & (ours | _FOREIGN), url)
    if not ours | _FOREIGN <= names:
        return False
    with engine.connect() as connection:
        revision = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        maker = connection.scalar(sqlalchemy.text("SELECT library_version FROM version_info"))
    if maker is not None and int(maker.split(".")[0]) < 5:
        raise StorageError(
            f"storage {redact(_text(url))} was made by Optuna {maker}, which stores times in "
            "another way: run `optuna storage upgrade` on it, or give another database"
        )
    return revision is not None and maker is not None


# MLflow, too, keeps its schema's revision in a table of this name.
_FOREIGN = {"alembic_version"}


@contextmanager
def _creating_alone(engine: Engine, url: URL) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        folder = os.open(Path(str(url.database)).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
        return
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET lock_timeout = '60s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_TABLES_LOCK})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_TABLES_LOCK})")


def _create(url: URL) -> None:
    RDBStorage(
        _text(url).replace("{", "{{").replace("}", "}}"), _engine_kwargs(url)
    ).engine.dispose()


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turn what the driver and Optuna raise into one line that shows no password."""
    shown = redact(_text(url))
    try:
        yield
    except ImportError as error:
        raise StorageError(f"storage {shown}: driver missing, install {error.name}") from None
    except RuntimeError as error:  # Optuna, of the schema's version
        if "storage upgrade" in str(error):
            advice = "is of an older Optuna: run `optuna storage upgrade` on it"
        else:
            advice = "is of a newer Optuna: use the same version of this program everywhere"
        raise StorageError(f"storage {shown} {advice}") from None
    except (StorageInternalError, exc.SQLAlchemyError) as error:
        raise StorageError(f"storage {shown}: {_advice(one_line(error))}") from None


def _advice(reason: str) -> str:
    text = reason.lower()
    if "password" in text or "authentication" in text or "no pg_hba.conf" in text:
        return f"user or password refused ({reason})"
    if "database" in text and "does not exist" in text:
        return f"no such database: create it first ({reason})"
    if "permission denied" in text:
        return f"the user may not create tables ({reason})"
    if "database disk image is malformed" in text or "not a database" in text:
        return f"the file is damaged: give another one, or restore a copy ({reason})"
    return f"cannot be used: is the server running at this address? ({reason})"
