"""Passwords hidden: whatever is shown, logged or stored of an address goes through here."""

from __future__ import annotations

import re

_SECRET = r"password|passwd|pwd|secret|token|api_?key|access_?key|credential|odbc_connect"
_OPTION = rf"(?i)([?&;](?:[\w-]*(?:{_SECRET})[\w-]*|sig|signature|key)=)"
# People forget to escape what a URL has another use for. So in an address all is secret up to the
# last @, or to the next option.
_USER_OF_ADDRESS = re.compile(r"(?s)^([\w+.-]+://[^:/@\[]*):.*@")
_OPTION_OF_ADDRESS = re.compile(_OPTION + r"(?:(?![&;][\w-]+=).)*")
# Within a text, it may be up to a space; or further, unless what stands there is a port.
_USER = re.compile(r"(://[^:/@\s\[]*):(?:\S*@|(?!\d+(?:\W|$))[^@\n]*@)")
_OPTION_IN_TEXT = re.compile(_OPTION + r"[^&;#\s]*")


def redact(text: str) -> str:
    """An address, or a text with addresses, fit to be shown: without passwords and keys."""
    is_address = re.match(r"[\w+.-]+://", text) is not None
    hidden = (_OPTION_OF_ADDRESS if is_address else _OPTION_IN_TEXT).sub(r"\1***", text)
    return _USER.sub(r"\1:***@", _USER_OF_ADDRESS.sub(r"\1:***@", hidden))


def without_user(url: str) -> str:
    """An address to open in a browser: without user and password."""
    return re.sub(r"(://)[^/@]*@", r"\1", redact(url))
