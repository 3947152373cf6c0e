"""What is known of a study while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Number, value and params of a trial.
Best = tuple[int, float, Mapping[str, Any]]


@dataclass
class RunningTrial:
    """A trial of this worker."""

    number: int
    params: dict[str, Any]
    started_at: float
    step: int = 0
    max_step: int = 0
    epoch: float | None = None
    value: float | None = None


@dataclass
class StudyView:
    """What is known of the study; times are of `time.monotonic`."""

    name: str = ""
    n_trials: int = 0
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    workers: int = 1
    running: dict[int, RunningTrial] = field(default_factory=dict)
    best_number: int | None = None
    best_value: float | None = None
    best_params: dict[str, Any] = field(default_factory=dict)
    preparing: str = ""
    fraction: float | None = None
    opened_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None
    done_at_start: int = 0
    ends_at: float | None = None

    @property
    def done(self) -> int:
        """Trials that count: a failed one is replaced."""
        return self.complete + self.pruned

    def counts(self) -> dict[str, int]:
        """Trials by how they ended."""
        return {"complete": self.complete, "pruned": self.pruned, "failed": self.failed}

    def best(self) -> Best | None:
        """Number, value and params of the best trial."""
        if self.best_number is None or self.best_value is None:
            return None
        return self.best_number, self.best_value, self.best_params

    def standing(self) -> str:
        """How far the running trials are, in a few words; empty without one."""
        trials = list(self.running.values())
        if not trials:
            return ""
        if len(trials) > 1:
            return f"{len(trials)} trials run"
        (trial,) = trials
        if not trial.step:
            return f"trial {trial.number} trains to its first evaluation"
        value = "" if trial.value is None else f", {trial.value:.4f}"
        return f"trial {trial.number} at step {trial.step} of {trial.max_step}{value}"

    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.opened_at

    def left_seconds(self) -> float | None:
        """Time left at the pace since the start, or until the timeout; None if nobody knows."""
        now = time.monotonic()
        until_timeout = None if self.ends_at is None else max(self.ends_at - now, 0.0)
        new = self.done - self.done_at_start
        if self.started_at is None or new < 2:
            return until_timeout
        left = (now - self.started_at) / new * max(self.n_trials - self.done, 0)
        return left if until_timeout is None else min(left, until_timeout)
