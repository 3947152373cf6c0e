"""A storage URL read, the settings of its connections, and its faults in one line."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from search.errors import StorageError
from search.names import is_utf8
from search.redaction import redact
from search.storage.overrides import one_line

_BUSY_SECONDS = 60.0
_POSTGRES_OPTIONS = (
    # Optuna writes naive times: all sessions have to mean the same zone.
    "-c timezone=UTC -c statement_timeout=60000 -c lock_timeout=30000 "
    # A worker that is stopped within a transaction must not hold the study's lock for long.
    "-c idle_in_transaction_session_timeout=15000"
)


def is_proxy(url: str) -> bool:
    """Whether the storage is a proxy's address, and not a database's URL."""
    return url.startswith("grpc://")


def parse(url: str) -> URL:
    if not is_utf8(url):
        raise StorageError(f"storage {redact(url)!r} is not UTF-8: give another name or folder")
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
    if "@" in (parsed.host or ""):
        raise StorageError(f"storage {redact(url)!r}: write an @ of the password as %40")
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


def absolute(url: str) -> str:
    """The same storage for a process in another working folder.

    Raises:
        StorageError: ``url`` is not that of a storage.
    """
    if is_proxy(url) or (parsed := parse(url)).get_backend_name() != "sqlite":
        return url
    assert parsed.database is not None
    return text_of(parsed.set(database=os.path.abspath(parsed.database)))


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def engine_kwargs(url: URL, connections: int = 2) -> dict[str, Any]:
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
