"""Pruners on recorded learning curves: what a search would have trained, and what it would find.

The trials of an Optuna study in memory report the recorded values one by one and ask the pruner
as a worker does. The parameters play no part: whatever the order, the configurations are equal.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from benchmarks.curves import Curve


@dataclass(frozen=True)
class Replayed:
    """One search over the curves.

    Attributes:
        seconds: Training and evaluation of all trials, up to where they were stopped.
        steps: The same as evaluations.
        pruned: Trials that were stopped.
        best: Best value of the trials that ran to their end; NaN if none did.
        kept_winner: Whether the best of all configurations ran to its end.
        first_pruned_step: The earliest step at which a trial was stopped; None if none was.
    """

    seconds: float
    steps: int
    pruned: int
    best: float
    kept_winner: bool
    first_pruned_step: int | None


def replay(curves: Sequence[Curve], pruner: BasePruner, *, seed: int) -> Replayed:
    """One worker's search over ``curves`` in the order drawn by ``seed``."""
    study = optuna.create_study(
        study_name=f"replay-{seed}",  # Hyperband draws brackets from it
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=seed),
        pruner=pruner,
    )
    winner = max(curves, key=lambda curve: max(curve.values))
    seconds, steps, first_pruned, kept_winner = 0.0, 0, None, False
    for curve in random.Random(seed).sample(list(curves), len(curves)):
        trial = study.ask()
        last = _last_step(trial, curve)
        pruned = last is not None
        last = last or len(curve.values)
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
            first_pruned = last if first_pruned is None else min(first_pruned, last)
        else:
            study.tell(trial, max(curve.values))
            kept_winner |= curve is winner
        seconds += curve.seconds[last - 1]
        steps += last
    trials = study.get_trials(deepcopy=False)
    complete = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    return Replayed(
        seconds=seconds,
        steps=steps,
        pruned=len(trials) - len(complete),
        best=max((value for value in complete if value is not None), default=math.nan),
        kept_winner=kept_winner,
        first_pruned_step=first_pruned,
    )


def _last_step(trial: optuna.Trial, curve: Curve) -> int | None:
    """The step at which the pruner stops the curve; None if it lets it end."""
    for step, value in enumerate(curve.values, start=1):
        trial.report(value, step)
        if step < len(curve.values) and trial.should_prune():
            return step
    return None


@dataclass(frozen=True)
class Savings:
    """What a pruner does on average, against the same searches without one.

    ``lost_points`` are of balanced accuracy in percent: the best of all less the best found.
    """

    time_saved: float
    steps_saved: float
    pruned: float
    lost_points: float
    most_lost_points: float
    winner_survives: float
    first_pruned_step: int | None


def savings(
    curves: Sequence[Curve],
    make_pruner: Callable[[], BasePruner],
    *,
    searches: int,
    trials: int | None = None,
) -> Savings:
    """Replay ``searches`` searches, each over ``trials`` curves of its own choice (None: all)."""
    lost, first, found = [], [], []
    seconds, steps = 0.0, 0
    for seed in range(searches):
        chosen = random.Random(seed).sample(list(curves), trials or len(curves))
        one = replay(chosen, make_pruner(), seed=seed)
        found.append(one)
        seconds += sum(curve.seconds[-1] for curve in chosen)
        steps += sum(len(curve.values) for curve in chosen)
        lost.append(100 * (max(max(curve.values) for curve in chosen) - one.best))
        first += [] if one.first_pruned_step is None else [one.first_pruned_step]
    return Savings(
        time_saved=1 - sum(one.seconds for one in found) / seconds,
        steps_saved=1 - sum(one.steps for one in found) / steps,
        pruned=sum(one.pruned for one in found) / searches,
        lost_points=sum(lost) / searches,
        most_lost_points=max(lost),
        winner_survives=sum(one.kept_winner for one in found) / searches,
        first_pruned_step=min(first, default=None),
    )
