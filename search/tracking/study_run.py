"""What the study's own run in MLflow says: how many trials there are, the best, the note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.configurations import spelled
from search.objectives import leaders, pareto_front
from search.tracking.client import Tracker, TrialEnd


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


class Ends:
    """Tells MLflow of trials that ended without a word from the worker that ran them.

    That died, and another gave its trial up or put it back; or the trial was cancelled while it
    waited. Every worker tells what it finds, as nobody knows who is to do so.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._failed: set[int] = set()

    def tell(self, trials: Sequence[FrozenTrial], *, own: int | None = None) -> None:
        """Tell of those that ended as FAIL since the last look, but for the worker's ``own``."""
        failed = {trial.number for trial in trials if trial.state == TrialState.FAIL}
        news = failed - self._failed - {own}
        self._failed = failed
        if news:
            roots = {_root(trial) for trial in trials if trial.number in news}
            self._tracker.trial_states(ends_of(t for t in trials if _root(t) in roots))

    def tell_all(self, trials: Sequence[FrozenTrial]) -> None:
        """Tell how every trial stands that has ended, or waits to be taken up again."""
        self._failed = {trial.number for trial in trials if trial.state == TrialState.FAIL}
        self._tracker.trial_states(ends_of(trials), of_all=True)


def ends_of(trials: Iterable[FrozenTrial]) -> dict[int, TrialEnd]:
    """Of each root its latest attempt, unless that runs or none has begun."""
    ends: dict[int, TrialEnd] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        root = _root(trial)
        if trial.state.is_finished():
            value = trial.values[0] if trial.values else None
            ends[root] = (trial.number, trial.state.name, value, _milliseconds(trial))
        elif trial.state == TrialState.RUNNING or root not in ends:
            ends.pop(root, None)
        else:  # what waits has not begun: the attempt before it did
            number, _, _, ended_at = ends[root]
            ends[root] = (number, trial.state.name, None, ended_at)
    return ends


def _root(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("root", trial.number))


def _milliseconds(trial: FrozenTrial) -> int:
    at = trial.datetime_complete
    return 0 if at is None else int(at.timestamp() * 1000)
