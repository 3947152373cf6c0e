"""How the study went: its trials by state, what they cost, which attempts failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from search.results.report.attempts import attempt_seconds
from search.spaces import EVALUATIONS_PER_EPOCH
from search.times import ended, started

_NUMBERS = 8


@dataclass(frozen=True)
class Cost:
    """Of the attempts in one state. ``seconds``: from their start to their end."""

    state: str
    attempts: int
    seconds: float
    share: float
    epochs: float


@dataclass(frozen=True)
class Failure:
    """Attempts that ended for the same reason; ``numbers`` the first of them."""

    reason: str
    count: int
    numbers: tuple[int, ...]
    again: int


@dataclass(frozen=True)
class Course:
    """``started`` and ``ended`` are of the first and last attempt; None if nobody wrote them."""

    counts: dict[str, int]
    costs: tuple[Cost, ...]
    failures: tuple[Failure, ...]
    workers: int
    started: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float:
        return sum(cost.seconds for cost in self.costs)

    @property
    def wall_seconds(self) -> float | None:
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


def course(trials: Sequence[FrozenTrial]) -> Course:
    """What all attempts of a study took, failed ones and those under way included."""
    counts = Counter(trial.state.name for trial in trials)
    order = [state.name for state in TrialState if counts[state.name]]
    starts = [moment for trial in trials if (moment := started(trial)) is not None]
    ends = [moment for trial in trials if (moment := ended(trial)) is not None]
    workers = {t.user_attrs["worker"] for t in trials if "worker" in t.user_attrs}
    return Course(
        counts={name: counts[name] for name in order},
        costs=_costs(trials),
        failures=_failures(trials),
        workers=len(workers),
        started=min(starts, default=None),
        ended=max(ends, default=None),
    )


def _costs(trials: Sequence[FrozenTrial]) -> tuple[Cost, ...]:
    total = sum(map(attempt_seconds, trials))
    found = []
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        these = [trial for trial in trials if trial.state == state]
        if not these:
            continue
        seconds = sum(map(attempt_seconds, these))
        epochs = sum(map(_own_epochs, these))
        share = seconds / total if total else 0.0
        found.append(Cost(state.name, len(these), seconds, share, epochs))
    return tuple(found)


def _own_epochs(trial: FrozenTrial) -> float:
    """Without those that an earlier attempt at the same configuration had trained."""
    last = max(trial.intermediate_values, default=0)
    return max(last - trial.user_attrs.get("resumed_from", 0), 0) / EVALUATIONS_PER_EPOCH


def _failures(trials: Sequence[FrozenTrial]) -> tuple[Failure, ...]:
    again = {t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs}
    by_reason: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state == TrialState.FAIL:
            by_reason.setdefault(failure_reason(trial), []).append(trial.number)
    ranked = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[1]))
    return tuple(
        Failure(reason, len(numbers), tuple(numbers[:_NUMBERS]), len(again.intersection(numbers)))
        for reason, numbers in ranked
    )


def failure_reason(trial: FrozenTrial) -> str:
    """Why a FAIL trial ended, on one line."""
    reason = trial.user_attrs.get("fail_reason") or trial.system_attrs.get("fail_reason")
    return " ".join(str(reason).split()) if reason else "no reason was stored"
