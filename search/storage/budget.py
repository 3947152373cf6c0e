"""When a study ends: its number of trials and its deadline, kept in the study itself."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.storage.overrides import SearchStorage

# User attributes of a study.
N_TRIALS = "n_trials"
DEADLINE = "deadline"
EXHAUSTED = "exhausted"


class Verdict(Enum):
    """Why ``claim`` gave no trial."""

    WAIT = "others run the last trials"
    FINISHED = "the budget is used up"
    TIMED_OUT = "the time is over"
    EXHAUSTED = "every configuration has been tried"


def set_budget(
    storage: SearchStorage,
    study_id: int,
    *,
    n_trials: int | None,
    timeout_seconds: float | None = None,
) -> None:
    """Say when the study ends; may be called while workers run, who then honour it.

    Args:
        n_trials: Trials that shall end COMPLETE or PRUNED in the whole study; None: no limit.
        timeout_seconds: From now, on the database's clock; None: no limit.
    """
    storage.set_study_user_attr(study_id, N_TRIALS, n_trials)
    deadline = None
    if timeout_seconds is not None:
        now = storage.transaction(lambda session, _: clock(session), reading=True)
        deadline = (now + timedelta(seconds=timeout_seconds)).isoformat()
    storage.set_study_user_attr(study_id, DEADLINE, deadline)


def seconds_left(storage: SearchStorage, study_id: int) -> float | None:
    """Until the study's deadline, on the database's clock; None without a deadline."""

    def work(session: Session, again: bool) -> float | None:
        deadline = _study_attributes(session, study_id).get(DEADLINE)
        if deadline is None:
            return None
        return (datetime.fromisoformat(deadline) - clock(session)).total_seconds()

    return storage.transaction(work, reading=True)


def count_states(storage: SearchStorage, study_id: int) -> dict[TrialState, int]:
    """How many trials of the study are in each state."""
    return storage.transaction(lambda session, _: _counts(session, study_id), reading=True)


def clock(session: Session) -> datetime:
    """The database's time, naive UTC: hosts' clocks differ."""
    if session.get_bind().dialect.name == "sqlite":
        text = session.scalar(sqlalchemy.text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
        return datetime.fromisoformat(str(text))
    now = session.scalar(sqlalchemy.text("SELECT clock_timestamp() AT TIME ZONE 'UTC'"))
    assert isinstance(now, datetime)
    return now


def admission(session: Session, study_id: int) -> tuple[Verdict | None, bool]:
    """A verdict, or None if a trial may start; and whether trials are WAITING."""
    attributes = _study_attributes(session, study_id)
    if N_TRIALS not in attributes:
        raise SearchError("the study has no budget: start it with its own command first")
    counts = _counts(session, study_id)
    running, waiting = counts.get(TrialState.RUNNING, 0), counts.get(TrialState.WAITING, 0)
    finished = counts.get(TrialState.COMPLETE, 0) + counts.get(TrialState.PRUNED, 0)
    n_trials = attributes[N_TRIALS]
    if n_trials is not None and finished >= n_trials:
        return Verdict.FINISHED, bool(waiting)
    deadline = attributes.get(DEADLINE)
    if deadline is not None and clock(session) >= datetime.fromisoformat(deadline):
        return Verdict.TIMED_OUT, bool(waiting)
    if n_trials is not None and finished + running >= n_trials:
        return Verdict.WAIT, bool(waiting)
    if attributes.get(EXHAUSTED) and not waiting:
        return (Verdict.WAIT if running else Verdict.EXHAUSTED), False
    return None, bool(waiting)


def _study_attributes(session: Session, study_id: int) -> dict[str, Any]:
    attribute = models.StudyUserAttributeModel
    rows = (
        session.query(attribute.key, attribute.value_json)
        .filter(attribute.study_id == study_id)
        .filter(attribute.key.in_((N_TRIALS, DEADLINE, EXHAUSTED)))
    )
    return {key: json.loads(value) for key, value in rows}


def _counts(session: Session, study_id: int) -> dict[TrialState, int]:
    rows = (
        session.query(models.TrialModel.state, sqlalchemy.func.count())
        .filter(models.TrialModel.study_id == study_id)
        .group_by(models.TrialModel.state)
    )
    return {state: count for state, count in rows}
