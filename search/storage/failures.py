"""When failures stop a study.

What counts is an attempt that failed by itself: an error, a wrong value, a hang. An attempt that
was interrupted, cancelled or lost with its worker does not.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState
from sqlalchemy import and_, or_
from sqlalchemy.orm import Session

from search.storage.control import FAILURES_ALSO, FAILURES_FROM, fail
from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import lock_study, models, study_attributes

#: User attribute of a trial that failed by itself: the traceback.
ERROR = "error"
FAILURE_FRACTION = 0.5
FEWEST_FAILURES = 10


@operation
def stop_if_failing(
    storage: SearchStorage,
    study_id: int,
    *,
    most_in_a_row: int,
    last: str,
    fraction: float = FAILURE_FRACTION,
    fewest: int = FEWEST_FAILURES,
) -> None:
    """Stop the study if ``most_in_a_row`` attempts failed, or too many of all.

    Counted by number and over all workers. What had ended at the last launch, or when a person let
    the study go on, does not count.

    Args:
        last: What the last one failed of.
        fraction: The study stops when a greater part of its attempts failed ...
        fewest: ... and at least so many.
    """

    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        failed = [state == TrialState.FAIL for state in _ended(session, study_id)]
        if len(failed) >= most_in_a_row and all(failed[:most_in_a_row]):
            what = f"{most_in_a_row} trials failed in a row"
        elif sum(failed) >= fewest and sum(failed) > fraction * len(failed):
            what = f"{sum(failed)} of {len(failed)} trials failed"
        else:
            return
        advice = "mend the cause, then run the same command"
        fail(session, study_id, f"{what}, the last with {last!r}: {advice}")

    storage.transaction(work)


def _ended(session: Session, study_id: int) -> list[Any]:
    """States of the attempts that ended by themselves, the latest first."""
    attributes = study_attributes(session, study_id, (FAILURES_FROM, FAILURES_ALSO))
    since = attributes.get(FAILURES_FROM, 0)
    also = set(attributes.get(FAILURES_ALSO) or ())
    trial, attribute = models.TrialModel, models.TrialUserAttributeModel
    rows = (
        session.query(trial.number, trial.state)
        .outerjoin(attribute, and_(attribute.trial_id == trial.trial_id, attribute.key == ERROR))
        .filter(trial.study_id == study_id, trial.number >= min(also, default=since))
        .filter(
            or_(
                trial.state.in_((TrialState.COMPLETE, TrialState.PRUNED)),
                and_(trial.state == TrialState.FAIL, attribute.key.is_not(None)),
            )
        )
        .order_by(trial.number.desc())
    )
    return [state for number, state in rows if number >= since or number in also]
