"""What the study's own run in MLflow says: how many trials there are, the best, the note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from search.configurations import spelled
from search.storage.budget import count_states
from search.storage.operations import StudyStorage
from search.tracking.client import Tracker


@dataclass(frozen=True)
class Standing:
    """How far a study has come; ``best`` is number, value and params of its best trial."""

    counts: Mapping[TrialState, int]
    best: tuple[int, float, dict[str, Any]] | None

    def count(self, state: TrialState) -> int:
        return self.counts.get(state, 0)


def read_standing(study: optuna.Study, storage: StudyStorage) -> Standing:
    """Counts and best of all workers' trials; a study with several objectives has no best."""
    counts = count_states(storage, study._study_id)
    if not counts.get(TrialState.COMPLETE) or len(study.directions) > 1:
        return Standing(counts, None)
    best = study.best_trial
    return Standing(counts, (best.number, best.value or 0.0, best.params))


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
    done = sum(standing.count(state) for state in states)
    tracker.study_progress(done, metrics=metrics, tags=tags, note=note or None, state=state)
