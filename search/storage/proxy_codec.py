"""What travels between a proxy and its clients, as JSON. Nothing in it is ever executed."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import TrialState

# The records and enumerations that may travel are those of this package, and Optuna's states.
_PACKAGE = "search.storage."
_KIND, _CONTENT = "kind", "content"


def encode(value: Any) -> bytes:
    """Numbers, texts, times, distributions, tuples, sets, dicts, and the package's own records.

    Raises:
        TypeError: Something else is in it.
    """
    return json.dumps(_plain(value)).encode()


def decode(text: bytes) -> Any:
    """What ``encode`` was given; lists come back as lists, tuples as tuples.

    Raises:
        ValueError: It was not written by ``encode``.
    """
    return _rich(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _tagged("member", [_name_of(type(value)), value.name])
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return _tagged("tuple", [_plain(item) for item in value])
    if isinstance(value, (set, frozenset)):
        return _tagged("set", [_plain(item) for item in value])
    if isinstance(value, Mapping):
        # As pairs: keys need not be texts.
        return _tagged("dict", [[_plain(key), _plain(item)] for key, item in value.items()])
    if isinstance(value, datetime):
        return _tagged("time", value.isoformat())
    if isinstance(value, BaseDistribution):
        return _tagged("distribution", distribution_to_json(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        content = {name: _plain(getattr(value, name)) for name in names}
        return _tagged("record", [_name_of(type(value)), content])
    if hasattr(value, "item"):  # a number of NumPy's, as samplers return them
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot travel through a proxy")


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, content = value[_KIND], value[_CONTENT]
    if kind == "tuple":
        return tuple(map(_rich, content))
    if kind == "set":
        return set(map(_rich, content))
    if kind == "dict":
        return {_rich(key): _rich(item) for key, item in content}
    if kind == "time":
        return datetime.fromisoformat(content)
    if kind == "distribution":
        return json_to_distribution(content)
    found = _type_named(content[0])
    if kind == "member" and issubclass(found, Enum):
        return found[content[1]]
    if kind == "record" and dataclasses.is_dataclass(found):
        return found(**{name: _rich(item) for name, item in content[1].items()})
    raise ValueError(f"a proxy sent {kind!r}, which is unknown here")


def _tagged(kind: str, content: Any) -> dict[str, Any]:
    return {_KIND: kind, _CONTENT: content}


def _name_of(kind: type) -> str:
    if kind is TrialState:
        return kind.__name__
    if not kind.__module__.startswith(_PACKAGE):
        raise TypeError(f"{kind.__name__} cannot travel through a proxy")
    return f"{kind.__module__}:{kind.__qualname__}"


def _type_named(name: str) -> type:
    if name == TrialState.__name__:
        return TrialState
    module, _, qualified = name.partition(":")
    found = getattr(sys.modules.get(module), qualified, None)
    if not module.startswith(_PACKAGE) or not isinstance(found, type):
        raise ValueError(f"a proxy sent a {name!r}, which is unknown here")
    return found
