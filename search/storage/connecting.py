"""A storage URL read, the settings of its connections, and its faults in one line."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.pool import NullPool

from search.errors import StorageError
from search.names import is_utf8
from search.redaction import redact
from search.storage.outages import READ_ONLY, one_line, sqlstate

_BUSY_SECONDS = 60.0
_NETWORK: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "title-search",
    # A host that vanished is noticed within 30 s.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# Of a session, or where sessions are a pooler's, of each transaction.
_POSTGRES_SETTINGS = {
    # Optuna writes naive times: all sessions have to mean the same zone.
    "timezone": "UTC",
    "statement_timeout": "60000",
    "lock_timeout": "30000",
    # A worker that is stopped within a transaction must not hold the study's lock for long.
    "idle_in_transaction_session_timeout": "15000",
}


def is_proxy(url: str) -> bool:
    """Whether the storage is a proxy's address, and not a database's URL."""
    return url.startswith("grpc://")


def parse(url: str) -> URL:
    if not is_utf8(url):
        raise StorageError(f"storage {redact(url)!r} is not UTF-8: give another name or folder")
    if "://" not in url:
        raise StorageError(
            f"storage {redact(url)!r} is not a URL: give sqlite:///study.db or "
            "postgresql+psycopg://user:password@host/database"
        )
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise _unreadable(url) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        # What stands before the first @ passes for the password, and its rest for the host.
        if "@" in (parsed.host or "") or re.search("/.*@|@.*/", parsed.database or ""):
            raise _unreadable(url)
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


def absolute(url: str) -> str:
    """The same storage for a process in another working folder.

    Raises:
        StorageError: ``url`` is not that of a storage.
    """
    if is_proxy(url) or (parsed := parse(url)).get_backend_name() != "sqlite":
        return url
    assert parsed.database is not None
    return text_of(parsed.set(database=os.path.abspath(parsed.database)))


def _unreadable(url: str) -> StorageError:
    return StorageError(
        f"storage {redact(url)!r} cannot be read as a URL: write an @ of the password as "
        "%40, and its other special characters as %XX"
    )


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def is_pooled(url: URL) -> bool:
    """Whether PostgreSQL is reached through a pooler, such as PgBouncer.

    One that pools transactions gives each of them another session of the server: nothing that is
    set, prepared or locked in a session is there in the next transaction.
    """
    if url.get_backend_name() == "sqlite":
        return False
    # Without options, which PgBouncer refuses.
    engine = create_engine(
        text_of(url), poolclass=NullPool, connect_args={**_NETWORK, "prepare_threshold": None}
    )
    with engine.connect() as connection:
        server: int = connection.scalar(text("SELECT pg_backend_pid()"))
        driver: Any = connection.connection.dbapi_connection
        return driver.info.backend_pid != server


def engine_kwargs(url: URL, connections: int = 2, *, pooled: bool = False) -> dict[str, Any]:
    """How connections are made.

    Args:
        connections: To PostgreSQL, kept open.
        pooled: As ``is_pooled`` found it.
    """
    if url.get_backend_name() == "sqlite":
        # isolation_level None: the driver begins no transactions, SearchStorage does.
        return {
            "connect_args": {
                "timeout": _BUSY_SECONDS,
                "isolation_level": None,
                "factory": _SQLiteConnection,
            }
        }
    if pooled:
        session: dict[str, Any] = {"prepare_threshold": None}
    else:
        settings = " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SETTINGS.items())
        session = {"options": f"{settings} {url.query.get('options', '')}".strip()}
    return {
        # Whatever the database's default: the lock of a study's row is of use to a transaction
        # only if it then sees what those before it wrote.
        "isolation_level": "READ COMMITTED",
        "pool_pre_ping": True,
        "pool_size": connections,
        "max_overflow": 3,
        "pool_recycle": 1800,
        "connect_args": {**_NETWORK, **session},
    }


def begin_pooled(connection: Connection) -> None:
    """Give a transaction what is a session's where there is no pooler.

    A listener to SQLAlchemy's event ``begin``.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.autocommit:
        settings = [f"SET LOCAL {name} = '{value}'" for name, value in _POSTGRES_SETTINGS.items()]
        connection.exec_driver_sql("; ".join(settings))


class _SQLiteConnection(sqlite3.Connection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # WAL: readers and one writer at a time don't wait for each other. With it, NORMAL loses
        # nothing when a process dies, and at worst the last moments when the machine does.
        self._switch_to_wal()
        self.execute("PRAGMA synchronous=NORMAL")

    def _switch_to_wal(self) -> None:
        """As often as it takes: of processes that switch a new file at once, SQLite refuses some
        without the wait that it has for all else."""
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.01, 0.05))


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what the driver and Optuna raise into one line that shows no password."""
    shown = redact(text_of(url))
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
        raise StorageError(f"storage {shown}: {_advice(error)}") from None


def _advice(error: Exception) -> str:
    reason, code = one_line(error), sqlstate(error)
    words = reason.lower()

    def says(*any_of: str) -> bool:
        # A server that refuses a connection says why in words alone.
        return any(part in words for part in any_of)

    if says("password", "authentication", "no pg_hba.conf", "no such user"):
        return f"user or password refused ({reason})"
    if says("no such database") or (says("database") and says("does not exist")):
        return f"no such database: create it first ({reason})"
    if code == READ_ONLY:
        return f"the server is read-only: give the address of the primary ({reason})"
    if says("permission denied"):
        return f"the user may not create tables ({reason})"
    if says("malformed", "not a database"):
        return f"the file is damaged: give another one, or restore a copy ({reason})"
    if says("invalid connection option", "invalid sslmode"):
        return f"mend the part of the URL after the ? ({reason})"
    if code is not None or not says("connect", "resolve", "timeout"):
        return f"cannot be used ({reason})"
    return f"cannot be used: is the server running at this address? ({reason})"
