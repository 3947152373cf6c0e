"""When a study ends: its number of trials and its deadline, and how long a trial may take.

All of it is kept in the study itself, may be changed while workers run, and is honoured by all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.storage.identity import ensure_key
from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import (
    clock,
    count_states_in,
    lock_study,
    set_study_attributes,
)

# User attributes of a study.
N_TRIALS = "n_trials"
DEADLINE = "deadline"
EXHAUSTED = "exhausted"
TRIAL_TIMEOUT = "trial_timeout_seconds"
HANG_TIMEOUT = "hang_timeout_seconds"


class Verdict(Enum):
    """Why ``claim`` gave no trial."""

    WAIT = "others run the last trials"
    PAUSED = "the study is paused"
    FINISHED = "the budget is used up"
    TIMED_OUT = "the time is over"
    EXHAUSTED = "every configuration has been tried"
    STOPPED = "the study was stopped"
    FAILED = "too many trials failed"


@operation
def set_budget(
    storage: SearchStorage,
    study_id: int,
    *,
    n_trials: int | None,
    timeout_seconds: float | None = None,
    trial_timeout_seconds: float | None = None,
    hang_timeout_seconds: float | None = None,
) -> None:
    """Say when the study ends; may be called while workers run, who then honour it.

    Args:
        n_trials: Trials that shall end COMPLETE or PRUNED in the whole study; None: no limit.
        timeout_seconds: From now, on the database's clock; None: no limit.
        trial_timeout_seconds: How long the attempts of one configuration may run in all, on the
            database's clock; None: no limit.
        hang_timeout_seconds: After so long without an evaluation a trial is taken for hung; None:
            drawn from the evaluations that came.
    """

    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        ensure_key(session, study_id)  # whatever has a budget can be told from its successor
        values: dict[str, Any] = {
            N_TRIALS: n_trials,
            DEADLINE: None,
            TRIAL_TIMEOUT: trial_timeout_seconds,
            HANG_TIMEOUT: hang_timeout_seconds,
        }
        if timeout_seconds is not None:
            values[DEADLINE] = (clock(session) + timedelta(seconds=timeout_seconds)).isoformat()
        set_study_attributes(session, study_id, values)

    storage.transaction(work)


def as_budget(value: object) -> int | None:
    """What a study has as ``N_TRIALS``; None if that is nothing of this program's."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_deadline(value: object) -> datetime | None:
    """What a study has as ``DEADLINE``, naive UTC; None if that is nothing of this program's."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is not None else moment


def seconds_to(deadline: str | None, session: Session) -> float | None:
    """Until the study's ``DEADLINE``, on the database's clock; None without one."""
    if deadline is None:
        return None
    return (datetime.fromisoformat(deadline) - clock(session)).total_seconds()


@operation
def count_states(storage: SearchStorage, study_id: int) -> dict[TrialState, int]:
    """How many trials of the study are in each state."""
    return storage.transaction(lambda session, _: count_states_in(session, study_id), reading=True)
