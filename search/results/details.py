"""A study, or one of its trials, in full."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.configurations import values_of
from search.errors import SearchError
from search.limits import ended_over
from search.objectives import may_be_best, pareto_front
from search.results.listing import OTHER_PROGRAM, read_settings
from search.spaces import EVALUATIONS_PER_EPOCH
from search.storage.budget import N_TRIALS, as_budget
from search.study import BASELINE_ATTR, SETTINGS_ATTR
from search.times import ended, seconds_of, started

# What stands elsewhere in a trial's details, or means nothing to its reader.
_TOLD = ("worker", "root", "attempt", "retry_of", "resumed_from", "fail_reason", "error")


def study_details(study: optuna.Study, *, leaders: int = 10) -> dict[str, Any]:
    """What defines a study and what it found, ready for JSON.

    Args:
        leaders: How many of the best trials to name.
    """
    trials = study.get_trials(deepcopy=False)
    settings, made_by = read_settings(study.user_attrs.get(SETTINGS_ATTR))
    starts = [moment for trial in trials if (moment := started(trial)) is not None]
    ends = [moment for trial in trials if (moment := ended(trial)) is not None]
    return {
        "name": study.study_name,
        "made_by": made_by,
        "directions": [direction.name for direction in study.directions],
        "settings": settings,
        "n_trials": as_budget(study.user_attrs.get(N_TRIALS)),
        "trials": {
            state.name: count
            for state in TrialState
            if (count := sum(trial.state == state for trial in trials))
        },
        "started": _time(min(starts, default=None)),
        "last_ended": _time(max(ends, default=None)),
        "space": {name: _ranges(found) for name, found in _space(trials).items()},
        "leaders": [_leader(trial) for trial in _ranked(study, trials)[:leaders]],
        **({"pareto_front": front} if (front := front_rows(study)) else {}),
        **({"over_limits": len(ended_over(trials))} if settings.get("limits") else {}),
    }


def trial_details(study: optuna.Study, number: int) -> dict[str, Any]:
    """One trial with its curve and all attempts at its configuration, ready for JSON.

    Raises:
        SearchError: There is no such trial.
    """
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        there = f"they are 0 to {len(trials) - 1}" if trials else "it has none yet"
        raise SearchError(f"study {study.study_name!r} has no trial {number}: {there}")
    trial = trials[number]
    attributes = trial.user_attrs
    ours = read_settings(study.user_attrs.get(SETTINGS_ATTR))[1] != OTHER_PROGRAM
    root = attributes.get("root", number)
    attempts = [t for t in trials if t.user_attrs.get("root", t.number) == root]
    return {
        "study": study.study_name,
        "number": number,
        "state": trial.state.name,
        "values": trial.values,
        "baseline": attributes.get(BASELINE_ATTR),
        "params": trial.params,
        "worker": attributes.get("worker"),
        "started": _time(started(trial)),
        "ended": _time(ended(trial)),
        "seconds": _seconds(trial),
        "attributes": {
            key: value for key, value in attributes.items() if key not in (*_TOLD, BASELINE_ATTR)
        },
        "error": attributes.get("error"),
        "attempts": [_attempt(attempt) for attempt in attempts],
        "curve": [
            {"step": step, "epoch": step / EVALUATIONS_PER_EPOCH if ours else None, "value": value}
            for step, value in sorted(trial.intermediate_values.items())
        ],
    }


def _attempt(trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    return {
        "trial": trial.number,
        "attempt": attributes.get("attempt", 1),
        "state": trial.state.name,
        "worker": attributes.get("worker"),
        "resumed_from": attributes.get("resumed_from"),
        "last_step": trial.last_step,
        "fail_reason": attributes.get("fail_reason"),
        "started": _time(started(trial)),
        "seconds": _seconds(trial),
    }


def _ranked(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The COMPLETE trials within the limits, the best first; none of a study with several
    objectives, whose best are its Pareto front."""
    if len(study.directions) != 1:
        return []
    sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
    complete = [(sign * (t.value or 0.0), t.number, t) for t in trials if may_be_best(t)]
    return [trial for _, _, trial in sorted(complete, key=lambda found: found[:2])]


def front_rows(study: optuna.Study) -> list[dict[str, Any]]:
    """The Pareto front, ready for JSON; empty if the study has one objective."""
    names = study.metric_names or [f"value {place}" for place in range(len(study.directions))]
    return [
        {
            "number": trial.number,
            "values": dict(zip(names, trial.values, strict=True)),
            "baseline": trial.user_attrs.get(BASELINE_ATTR),
            "params": trial.params,
        }
        for trial in pareto_front(study)
    ]


def _leader(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "value": trial.value,
        "baseline": trial.user_attrs.get(BASELINE_ATTR),
        "epochs": trial.user_attrs.get("epochs"),
        "seconds": _seconds(trial),
        "params": trial.params,
    }


def _space(trials: Sequence[FrozenTrial]) -> dict[str, list[BaseDistribution]]:
    """The parameters that trials were asked for, each with its ranges; mostly there is one."""
    texts: dict[str, dict[str, None]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            texts.setdefault(name, {})[distribution_to_json(distribution)] = None
    return {name: [json_to_distribution(t) for t in found] for name, found in texts.items()}


def _ranges(distributions: Sequence[BaseDistribution]) -> str:
    return "; or ".join(
        values_of(found) + (", logarithmic" if getattr(found, "log", False) else "")
        for found in distributions
    )


def _seconds(trial: FrozenTrial) -> float | None:
    seconds = seconds_of(trial)
    return None if seconds is None else round(seconds, 3)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
