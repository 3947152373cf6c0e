"""Whether anything answers at MLflow's address, asked without MLflow: its import takes seconds."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check_answers(uri: str) -> None:
    """Ask a server for its health, whatever it says to that; of a database its port alone.

    Raises:
        OSError: Nobody listens, or no answer comes within 5 s.
    """
    parts = urlsplit(uri)
    if not parts.hostname:
        return
    if parts.scheme in ("http", "https"):
        _ask(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    elif port := parts.port or _PORTS.get(parts.scheme.partition("+")[0]):
        socket.create_connection((parts.hostname, port), _SECONDS).close()


def _ask(url: str) -> None:
    try:
        # Through the proxies of the environment, as MLflow itself goes.
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_SECONDS):
            pass
    except http.client.RemoteDisconnected:
        raise
    except (urllib.error.HTTPError, http.client.HTTPException):
        pass  # an answer; what it is worth MLflow will say
    except urllib.error.URLError as error:
        # A certificate that Python does not trust MLflow may have been told to.
        if isinstance(error.reason, ssl.SSLError):
            return
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise
