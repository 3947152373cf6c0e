"""How long the parts of the service take that a trial goes through."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from search.checkpoints import CheckpointStore
from search.tracking.client import Tracker
from search.workers.attempt import Attempt
from search.workers.trial_run import TrialRun

#: The name of a part, and a method that belongs to it.
Method = tuple[str, Any, str]
OF_A_TRIAL: tuple[Method, ...] = (
    ("suggest", Attempt, "suggest"),
    ("report", Attempt, "report"),
    ("prune", Attempt, "should_prune"),
    ("attributes", Attempt, "describe"),
    ("tell", TrialRun, "_tell"),
    ("events", Tracker, "trial_started"),
    ("events", Tracker, "evaluated"),
    ("events", Tracker, "trial_finished"),
    ("checkpoints", CheckpointStore, "save"),
    ("checkpoints", CheckpointStore, "remove"),
)


@dataclass
class Parts:
    """Seconds spent in each part so far."""

    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def timed_parts(methods: Sequence[Method] = OF_A_TRIAL) -> Iterator[Parts]:
    """While it lasts, the parts are timed wherever this process calls them."""
    parts = Parts()
    originals = [(owner, method, getattr(owner, method)) for _, owner, method in methods]
    for name, owner, method in methods:
        parts.seconds[name] = 0.0
        setattr(owner, method, _timed(getattr(owner, method), name, parts))
    try:
        yield parts
    finally:
        for owner, method, original in originals:
            setattr(owner, method, original)


def _timed(original: Any, name: str, parts: Parts) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            parts.seconds[name] += time.perf_counter() - started

    return call
