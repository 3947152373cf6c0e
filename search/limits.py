"""Limits on what a network may cost, and how a trial is held against them before its training.

A configuration over a limit isn't trained, a baseline neither: its trial ends PRUNED, and counts
to the budget as any pruned one, so a search ends even if nothing fits. What is over is therefore
never COMPLETE, not even to readers that know nothing of limits. Its value is what its network,
untrained, was found to reach: optuna-dashboard draws no trial without one. Which trials may be
called the best is said in ``search.objectives``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from search.errors import SearchError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

#: What may be limited: a user attribute and a constraint of each trial.
SIZE_MB, LATENCY_MS = "size_mb", "latency_ms"
UNITS = {SIZE_MB: "MB", LATENCY_MS: "ms a title"}
OPTIONS = {SIZE_MB: "--max-size-mb", LATENCY_MS: "--max-latency-ms"}
NO_LIMITS: Mapping[str, float] = MappingProxyType({})
#: User attribute of a pruned trial: why, where no pruner did it.
PRUNE_REASON = "prune_reason"
# Where Optuna before 5.0 kept constraints, and optuna-dashboard 0.21 still looks for them.
_LEGACY = "constraints"
_FLOAT32_BYTES = 4


def limits_of(*, size_mb: float | None, latency_ms: float | None) -> dict[str, float]:
    """The limits that are given, by the names of ``UNITS``.

    Raises:
        SearchError: One is not a number above 0.
    """
    given = {SIZE_MB: size_mb, LATENCY_MS: latency_ms}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    for name, limit in limits.items():
        if not (math.isfinite(limit) and limit > 0):
            raise SearchError(f"{OPTIONS[name]} is {limit:g}; give a number above 0")
    return limits


def described(limits: Mapping[str, float]) -> str:
    """``at most 20 MB and 0.5 ms a title``; empty without limits."""
    parts = [f"{digits(limits[name])} {unit}" for name, unit in UNITS.items() if name in limits]
    return f"at most {' and '.join(parts)}" if parts else ""


def digits(number: float) -> str:
    """All digits that tell it from every other number, as an option takes them."""
    return repr(float(number)).removesuffix(".0")


def check_reachable(
    limits: Mapping[str, float], *, vocabulary_size: int, embedding_dim: int
) -> None:
    """Refuse a limit on the size that the word vectors alone exceed: nothing could be trained.

    Raises:
        SearchError: As said, with what they take.
    """
    vectors_mb = _FLOAT32_BYTES * vocabulary_size * embedding_dim / 1e6
    limit = limits.get(SIZE_MB, math.inf)
    if vectors_mb > limit:
        raise SearchError(
            f"{OPTIONS[SIZE_MB]} is {limit:g}, but the word vectors alone take "
            f"{vectors_mb:.3g} MB ({vocabulary_size:,} words, width {embedding_dim}): raise it, "
            "or lower --dim or --max-vocabulary"
        )


def hold_against(
    trial: Trial, limits: Mapping[str, float], measure: Callable[[str], float]
) -> dict[str, float]:
    """Write on the trial what its network costs and by how much that is over each limit.

    A constraint is the part by which the limit is exceeded: 0.25 is a quarter over it, 0 or less
    is within. So Optuna's samplers may add those of megabytes and milliseconds up. A configuration
    is judged once: its next attempt, maybe on a faster machine, keeps what the first one measured.

    Args:
        measure: Called with a name of ``UNITS``.

    Returns:
        The costs, by the names of ``limits``.
    """
    costs = {}
    for name in limits:
        if name not in trial.user_attrs:
            trial.set_user_attr(name, measure(name))
        costs[name] = float(trial.user_attrs[name])
    if limits and _LEGACY not in trial.storage.get_trial_system_attrs(trial._trial_id):
        excess = {name: (costs[name] - limit) / limit for name, limit in limits.items()}
        for name in excess.keys() - trial.constraints.keys():
            trial.set_constraint(name, excess[name])
        trial.storage.set_trial_system_attr(trial._trial_id, _LEGACY, [*excess.values()])
    return costs


def excess_of(costs: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """``25.1 MB, over the limit of 20``: what is over its limit, or nothing."""
    return "; ".join(
        f"{costs[name]:.5g} {UNITS[name]}, over the limit of {limit:g}"
        for name, limit in limits.items()
        if costs[name] > limit
    )


def is_over(trial: FrozenTrial) -> bool:
    """Whether the trial is known to be over a limit."""
    return any(excess > 0 for excess in trial.constraints.values())


def is_untrained(trial: FrozenTrial) -> bool:
    """Whether the trial ended over a limit before its training."""
    return trial.state.name == "PRUNED" and is_over(trial)


def why_over(trial: FrozenTrial) -> str:
    """Why the trial is over a limit, for people."""
    return str(trial.user_attrs.get(PRUNE_REASON, "over a limit"))


def once(trial: FrozenTrial) -> FrozenTrial:
    """The trial with each constraint once, for samplers: Optuna 5 reads both forms, and takes them
    for different constraints."""
    attributes = trial.system_attrs
    if _LEGACY not in attributes or not any(key.startswith(f"{_LEGACY}:") for key in attributes):
        return trial
    shown = copy.copy(trial)
    shown.system_attrs = {key: attributes[key] for key in attributes if key != _LEGACY}
    return shown


def ended_over(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that ended over a limit, without attempts that another one followed."""
    return [t for t in trials if t.state.name in ("PRUNED", "COMPLETE") and is_over(t)]
