"""Storage URL -> storage: SQLite, PostgreSQL, or a proxy in front of one; its tables made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc
from sqlalchemy.engine import URL

from search.errors import StorageError
from search.redaction import redact
from search.storage.connecting import (
    engine_kwargs,
    explained,
    is_pooled,
    is_proxy,
    parse,
    text_of,
)
from search.storage.operations import StudyStorage
from search.storage.outages import is_busy
from search.storage.overrides import SearchStorage
from search.storage.shared_files import refuse_shared, warn_of_network
from search.storage.tables import make_tables

__all__ = ["create_tables", "is_proxy", "open_database", "open_storage"]

T = TypeVar("T")

# So long a server that is there, but busy, is waited for: with many workers that start at once, or
# just up.
_BUSY_FOR_SECONDS = 120.0


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
        parsed = parse(url)
        if parsed.get_backend_name() == "sqlite":
            warn_of_network(Path(str(parsed.database)))
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


def open_database(
    url: str,
    *,
    heartbeat_seconds: float = 10.0,
    grace_seconds: float = 60.0,
    outage_seconds: float = 120.0,
    connections: int = 2,
    storage_class: type[SearchStorage] = SearchStorage,
) -> SearchStorage:
    """As ``open_storage``, for a database.

    Args:
        connections: To PostgreSQL, kept open; a worker's trial and its heartbeat take one each.
        storage_class: What is opened.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        refuse_shared(Path(str(parsed.database)), grace_seconds=grace_seconds)

    def opened() -> SearchStorage:
        pooled = is_pooled(parsed)
        make_tables(parsed, pooled=pooled)
        return storage_class(
            text_of(parsed),
            engine_kwargs(parsed, connections, pooled=pooled),
            heartbeat_seconds=heartbeat_seconds,
            grace_seconds=grace_seconds,
            outage_seconds=outage_seconds,
            display_url=redact(url),
            pooled=pooled,
        )

    return _while_busy(opened, parsed)


def create_tables(url: str) -> None:
    """Create Optuna's tables in the database at ``url`` unless they are there.

    Raises:
        StorageError: The database cannot be reached, is not Optuna's, or is of another version.
    """
    if is_proxy(url):
        open_storage(url).close()  # its proxy has created them
        return
    parsed = parse(url)
    _while_busy(lambda: make_tables(parsed, pooled=is_pooled(parsed)), parsed)


def _while_busy(call: Callable[[], T], url: URL) -> T:
    """``call()``, repeated while the server is too busy; a server that is not there is no such."""
    until = time.monotonic() + _BUSY_FOR_SECONDS
    while True:
        with explained(url):
            try:
                return call()
            except (StorageInternalError, exc.SQLAlchemyError) as error:
                if not is_busy(error) or time.monotonic() > until:
                    raise
        time.sleep(random.uniform(0.5, 1.5))
