"""Which names the dashboard answers to.

A page from elsewhere may have its own name point to this machine (DNS rebinding): the user's
browser then takes the dashboard for a part of that page, and the page may read, rename and delete
studies. The name stays in the Host header. An address in numbers belongs to nobody's DNS.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104


def names_of(host: str) -> frozenset[str]:
    """The names under which a server that listens on ``host`` is reached, besides addresses."""
    own = socket.gethostname() if host in _EVERYWHERE else host
    return frozenset({"localhost", own.lower()})


def answers_to(header: str, names: frozenset[str]) -> bool:
    """Whether a request with this Host header was meant for a server of these names."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:  # half a pair of brackets
        return False
    return name.rstrip(".") in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
