"""Whether workers are at a study, which is then neither copied nor deleted."""

from __future__ import annotations

from datetime import timedelta

from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.storage.overrides import SearchStorage
from search.storage.rows import clock, models


def refuse_in_use(session: Session, study_id: int, storage: SearchStorage, *, advice: str) -> None:
    """Do nothing if no worker has given a sign of life within the storage's grace.

    A trial that is RUNNING without one was left by a dead worker, or by another tool.

    Raises:
        SearchError: Workers are at it; ends with ``advice``.
    """
    silent_since = clock(session) - timedelta(seconds=storage.grace_seconds)
    beat = models.TrialHeartbeatModel
    rows = (
        session.query(models.TrialModel.number)
        .join(beat, beat.trial_id == models.TrialModel.trial_id)
        .filter(models.TrialModel.study_id == study_id)
        .filter(models.TrialModel.state == TrialState.RUNNING, beat.heartbeat > silent_since)
        .order_by(models.TrialModel.number)
    )
    numbers = [str(number) for (number,) in rows]
    if numbers:
        trials = f"trial {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} trials are"
        raise SearchError(f"workers are at the study: {trials} running; {advice}")
