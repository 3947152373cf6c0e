"""A trial taken by a worker: what it is told, and what is written of it.

All of it happens in the transaction of ``trial_queue.claim``, under the lock of the study's row,
for which the other workers wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.storage.overrides import CLAIM
from search.storage.retries import SECONDS_BEFORE
from search.storage.rows import clock, models, trial_attributes, write_attributes

# System attribute: when the attempt began, on the database's clock.
CLAIMED_AT = "claimed_at"
# System attribute: which process runs it, as ``processes.this_process`` names it.
PROCESS = "process"


@dataclass(frozen=True)
class Claim:
    """A trial that is RUNNING for this worker.

    Attributes:
        configuration: Ordinal of its configuration in the study; its attempts share it.
        root: Number of its first attempt; names its checkpoint.
        attempt: 1 for the first.
        seconds_before: How long the attempts before ran.
    """

    trial_id: int
    number: int
    configuration: int
    root: int
    attempt: int
    seconds_before: float = 0.0


def pop_waiting(session: Session, study_id: int) -> Any:
    """The first WAITING trial, RUNNING from now on, its row locked; None if there is none."""
    # The row's lock, too, for the sake of Optuna's own tools, which don't take the study's.
    trial = (
        session.query(models.TrialModel)
        .filter_by(study_id=study_id, state=TrialState.WAITING)
        .order_by(models.TrialModel.trial_id)
        .with_for_update()
        .first()
    )
    if trial is not None:
        trial.state = TrialState.RUNNING
        trial.datetime_start = datetime.now()
    return trial


def new_trial(session: Session, study_id: int, *, number: int) -> Any:
    """A RUNNING one, as Optuna makes it, which counts the trials before it once more."""
    trial = models.TrialModel(
        study_id=study_id,
        number=number,
        state=TrialState.RUNNING,
        datetime_start=datetime.now(),
    )
    session.add(trial)
    session.flush()
    return trial


def take(
    session: Session,
    trial: Any,
    attributes: Mapping[str, Any],
    *,
    token: str,
    worker: str,
    process: str | None,
) -> Claim:
    """Make a RUNNING trial this worker's. ``attributes``: its user attributes so far."""
    new: dict[str, Any] = {"worker": worker}
    if "configuration" not in attributes:
        # Dense over interruptions and crashes, so that seeds drawn from it repeat.
        new |= {
            "configuration": trial.number - _count_retries(session, trial),
            "root": trial.number,
            "attempt": 1,
        }
    now = clock(session)
    own = {CLAIM: token, CLAIMED_AT: now.isoformat(), PROCESS: process}
    write_attributes(session, models.TrialUserAttributeModel, trial.trial_id, new)
    write_attributes(session, models.TrialSystemAttributeModel, trial.trial_id, own)
    # In this transaction: killed at any moment, the trial has a heartbeat that can stop.
    session.add(models.TrialHeartbeatModel(trial_id=trial.trial_id, heartbeat=now))
    session.flush()
    return _claim_of(trial, {**attributes, **new})


def _count_retries(session: Session, trial: Any) -> int:
    attribute = models.TrialUserAttributeModel
    count = (
        session.query(sqlalchemy.func.count(attribute.trial_id))
        .join(models.TrialModel)
        .filter(models.TrialModel.study_id == trial.study_id)
        .filter(models.TrialModel.trial_id < trial.trial_id)
        .filter(attribute.key == "retry_of")
    )
    return count.scalar()


def read_claim(session: Session, trial_id: int) -> Claim:
    """What ``take`` returned for a trial that was taken."""
    trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
    return _claim_of(trial, trial_attributes(session, trial_id))


def _claim_of(trial: Any, attributes: Mapping[str, Any]) -> Claim:
    return Claim(
        trial_id=trial.trial_id,
        number=trial.number,
        configuration=attributes["configuration"],
        root=attributes["root"],
        attempt=attributes["attempt"],
        seconds_before=attributes.get(SECONDS_BEFORE, 0.0),
    )
