"""What pruning saved: an estimate, by a method that can be said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from search.results.report.attempts import is_baseline, trained_seconds, valued
from search.settings import StudySettings
from search.spaces import EVALUATIONS_PER_EPOCH


@dataclass(frozen=True)
class Pruning:
    """``saved_seconds`` is estimated: each pruned trial's untrained epochs, at the mean pace of
    the epochs that it did train."""

    pruned: int
    finished: int
    epochs_trained: float
    epochs_planned: float
    trained_seconds: float
    saved_seconds: float

    @property
    def saved_share(self) -> float:
        """Of the time that all trials would have taken without pruning."""
        return self.saved_seconds / max(self.trained_seconds + self.saved_seconds, 1e-9)


def planned_epochs(trial: FrozenTrial, settings: StudySettings) -> int:
    """Epochs of the trial if nobody stops it: where the space has no such parameter, all."""
    return int(trial.params.get("num_epochs", settings.max_epochs))


def pruning(trials: Sequence[FrozenTrial], settings: StudySettings) -> Pruning:
    """Time and epochs of the COMPLETE and PRUNED trials, and what pruning took off them."""
    finished = valued(trials)
    saved = trained = epochs = planned = 0.0
    for trial in finished:
        plan = planned_epochs(trial, settings)
        seconds = trained_seconds(trial) or 0.0
        done = float(plan)
        if trial.state == TrialState.PRUNED:
            done = min(max(trial.intermediate_values, default=0) / EVALUATIONS_PER_EPOCH, plan)
            saved += seconds * (plan - done) / done if done else 0.0
        trained, epochs, planned = trained + seconds, epochs + done, planned + plan
    return Pruning(
        pruned=sum(t.state == TrialState.PRUNED for t in finished),
        finished=sum(not is_baseline(t) for t in finished),
        epochs_trained=epochs,
        epochs_planned=planned,
        trained_seconds=trained,
        saved_seconds=saved,
    )
