"""Whether MLflow would be given the database of the studies, under whatever spelling."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from search.errors import SearchError
from search.redaction import redact
from search.storage.connecting import is_proxy, parse
from search.tracking.client import checked_tracking_uri

_PORT = 5432
_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def check_tracking(tracking_uri: str, storage_url: str) -> str:
    """The tracking URI as ``checked_tracking_uri`` returns it, if MLflow may have that place.

    Raises:
        SearchError: It cannot be one of MLflow's, or is the database of the studies: MLflow could
            not make its tables there, and nothing would ever be tracked.
    """
    uri = checked_tracking_uri(tracking_uri)
    # What database is behind a proxy is for the proxy to know.
    if not is_proxy(storage_url) and _is_same(parse(storage_url), uri):
        raise SearchError(
            f"--storage and --tracking-uri both name the database {redact(storage_url)}: MLflow "
            "needs one of its own"
        )
    return uri


def _is_same(storage: URL, tracking_uri: str) -> bool:
    try:
        tracking = make_url(tracking_uri)
    except (exc.ArgumentError, ValueError):
        return False
    if tracking.drivername == "postgres":
        tracking = tracking.set(drivername="postgresql")
    if storage.get_backend_name() != tracking.drivername.partition("+")[0]:
        return False
    if storage.get_backend_name() == "sqlite":
        return _is_same_file(storage.database or "", tracking.database or "")
    # Two schemas of one database, chosen by these options, are two places.
    return (
        _database(storage) == _database(tracking)
        and storage.query.get("options") == tracking.query.get("options")
        and _is_same_host(_host(storage), _host(tracking))
    )


def _is_same_file(one: str, other: str) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return Path(one).exists() and Path(other).exists() and Path(one).samefile(other)


def _database(url: URL) -> tuple[int, str | None]:
    port = url.port or int(str(url.query.get("port", _PORT)))
    return port, url.database or url.username


def _host(url: URL) -> str:
    host = str(url.host or url.query.get("host", "")).lower()
    return "" if host in _LOCAL or host.startswith("/") else host  # a folder: of its socket


def _is_same_host(one: str, other: str) -> bool:
    return one == other or not _addresses(one).isdisjoint(_addresses(other))


def _addresses(host: str) -> set[str]:
    names = {host} if host else {"localhost", socket.gethostname()}
    found = set()
    for name in names:
        try:
            found |= {str(place[4][0]) for place in socket.getaddrinfo(name, None)}
        except OSError:
            continue  # it is not known here; whoever connects will say so
    return found
