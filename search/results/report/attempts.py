"""Single trials, as a report shows them: what they are called, how long they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from search.display.summary import describe_params
from search.limits import is_over, is_untrained, why_over
from search.objectives import may_be_best
from search.study import BASELINE_ATTR, START_ATTR, WARM_START_ATTR
from search.times import seconds_of

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Row:
    """A trial in a table; numbers that nobody stored are None."""

    number: int
    state: str
    value: float | None
    epochs: float | None
    seconds: float | None
    configuration: str
    remark: str


def row(trial: FrozenTrial) -> Row:
    return Row(
        number=trial.number,
        state=trial.state.name,
        value=trial.value,
        epochs=trial.user_attrs.get("epochs"),
        seconds=trained_seconds(trial),
        configuration=describe_params(trial.params),
        remark=remark(trial),
    )


def remark(trial: FrozenTrial) -> str:
    """Where the configuration comes from, if no sampler proposed it; what it is over, first."""
    if is_over(trial):
        return f"{why_over(trial)}; {_origin(trial)}".removesuffix("; ")
    return _origin(trial)


def _origin(trial: FrozenTrial) -> str:
    if name := trial.user_attrs.get(BASELINE_ATTR):
        return f"baseline: {name}"
    if origin := trial.user_attrs.get(WARM_START_ATTR):
        return f"from {origin}"
    return "good start" if START_ATTR in trial.user_attrs else ""


def is_baseline(trial: FrozenTrial) -> bool:
    return BASELINE_ATTR in trial.user_attrs


def valued(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The COMPLETE and PRUNED trials with a value that was reached by training."""
    return [
        t for t in trials if t.state in COUNTED and t.value is not None and not is_untrained(t)
    ]


def attempt_seconds(trial: FrozenTrial) -> float:
    """Wall time of this attempt; 0 if it has not ended or never started."""
    return max(seconds_of(trial) or 0.0, 0.0)


def trained_seconds(trial: FrozenTrial) -> float | None:
    """Training and evaluation over all attempts at the configuration; None if it did not end."""
    if trial.state not in COUNTED:
        return None
    return trial.user_attrs.get("seconds", attempt_seconds(trial))


def thinned(trials: Sequence[FrozenTrial], limit: int) -> list[FrozenTrial]:
    """At most about ``limit`` of the trials, evenly spread; baselines and bests all stay."""
    if len(trials) <= limit:
        return list(trials)
    best, kept = float("-inf"), []
    stride = -(-len(trials) // limit)
    for position, trial in enumerate(trials):
        is_best = may_be_best(trial) and (trial.value or 0.0) > best
        if is_best:
            best = trial.value or 0.0
        if is_best or is_baseline(trial) or position % stride == 0:
            kept.append(trial)
    return kept
