"""What the study's own run in MLflow says: how many trials there are, the best, the note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.configurations import spelled
from search.objectives import leaders, pareto_front
from search.tracking.client import Tracker


@dataclass(frozen=True)
class Standing:
    """How far a study has come.

    Attributes:
        best: Number, balanced accuracy and params of its best trial.
        front: Numbers of the trials on the Pareto front; empty with one objective.
    """

    counts: Mapping[TrialState, int]
    best: tuple[int, float, dict[str, Any]] | None
    front: tuple[int, ...] = ()

    def count(self, state: TrialState) -> int:
        return self.counts.get(state, 0)


def standing_of(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Standing:
    """Counts and best of all workers' trials, which were just read."""
    counts = Counter(trial.state for trial in trials)
    found = leaders(trials)
    if not found:
        return Standing(counts, None)
    numbers = tuple(trial.number for trial in pareto_front(study))
    best = found[0]
    return Standing(counts, (best.number, best.values[0], best.params), numbers)


def track_progress(
    tracker: Tracker, standing: Standing, *, note: str = "", state: str | None = None
) -> None:
    """A point on the curves of the study's run; ``state`` COMPLETE or WAITING ends its part."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    metrics = {f"trials_{s.name.lower()}": float(standing.count(s)) for s in states}
    tags: dict[str, Any] = {}
    if standing.best is not None:
        number, value, params = standing.best
        metrics["best_balanced_accuracy"] = value
        tags = {"best_trial": number, "best_params": spelled(params)}
    if standing.front:
        tags["pareto_front"] = ", ".join(map(str, standing.front))
    done = sum(standing.count(state) for state in states)
    tracker.study_progress(done, metrics=metrics, tags=tags, note=note or None, state=state)
