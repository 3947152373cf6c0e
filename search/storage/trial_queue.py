"""The study as a queue of trials: putting one in, taking one, ending one, handing one on.

Each function is one transaction under the lock of the study's row, and may be repeated after an
answer that was lost. Invariant: COMPLETE + PRUNED + RUNNING + WAITING trials never exceed the
budget, except when the budget is lowered or more trials are enqueued than it admits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.orm import Session

from search.errors import Fenced
from search.storage.admission import admission
from search.storage.budget import Verdict
from search.storage.claims import CLAIMED_AT, Claim, new_trial, pop_waiting, read_claim, take
from search.storage.control import is_cancelled
from search.storage.operations import operation
from search.storage.overrides import CLAIM, SearchStorage, find_claimed
from search.storage.retries import SECONDS_BEFORE, forget_rungs, retry_of
from search.storage.rows import (
    clock,
    lock_study,
    lock_study_of,
    models,
    own_trial,
    trial_attributes,
    write_attributes,
)

# System attribute of a trial that was handed on or given up: which call did it, and its answer.
_RELEASED = "released"


@operation
def enqueue(
    storage: SearchStorage,
    study_id: int,
    params: Mapping[str, Any],
    *,
    user_attrs: Mapping[str, Any],
    once: bool = False,
) -> int | None:
    """Queue a configuration; parameters that ``params`` lacks are left to the sampler.

    Args:
        once: Not if a trial has all of these ``user_attrs`` already.

    Returns:
        The number of its trial, or None with ``once``.
    """
    token = storage.new_token()
    trial = create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": dict(params), CLAIM: token},
        user_attrs=dict(user_attrs),
    )

    def work(session: Session, again: bool) -> int | None:
        lock_study(session, study_id)
        if again and (trial_id := find_claimed(session, study_id, token)) is not None:
            return int(models.TrialModel.find_or_raise_by_id(trial_id, session).number)
        if once and _has_trial(session, study_id, user_attrs):
            return None
        return int(storage._get_prepared_new_trial(study_id, trial, session).number)

    return storage.transaction(work)


def _has_trial(session: Session, study_id: int, user_attrs: Mapping[str, Any]) -> bool:
    attribute = models.TrialUserAttributeModel
    query = session.query(models.TrialModel.trial_id).filter_by(study_id=study_id)
    for key, value in user_attrs.items():
        has = models.TrialModel.user_attributes.any(
            sqlalchemy.and_(attribute.key == key, attribute.value_json == json.dumps(value))
        )
        query = query.filter(has)
    return query.first() is not None


@operation
def claim(
    storage: SearchStorage,
    study_id: int,
    *,
    token: str,
    worker: str,
    process: str | None = None,
    stops: int | None = None,
    points: Set[str] | None = None,
    is_waiting: bool = False,
) -> Claim | Verdict:
    """Take the first WAITING trial, or create one if the budget admits it.

    Args:
        token: Unique to this call, so that a repeat finds what its lost first try took.
        worker: Who takes it; stored on the trial.
        process: Its process, so that another on its machine can see that it has ended.
        stops, points: As ``admission`` takes them.
        is_waiting: There was nothing to take the last time: look without the study's lock first.
    """

    def look(session: Session, again: bool) -> Verdict | None:
        return admission(session, study_id, stops=stops, points=points)[0]

    def work(session: Session, again: bool) -> Claim | Verdict:
        lock_study(session, study_id)
        if again and (trial_id := find_claimed(session, study_id, token)) is not None:
            return read_claim(session, trial_id)
        # All other workers wait for the lock: few statements, and nothing is read back.
        verdict, counts = admission(session, study_id, stops=stops, points=points)
        if verdict is not None:
            return verdict
        if not counts.get(TrialState.WAITING):
            trial = new_trial(session, study_id, number=sum(counts.values()))
            attributes = {}
        elif (trial := pop_waiting(session, study_id)) is None:
            return Verdict.WAIT  # a tool that doesn't take the study's lock was faster
        else:
            attributes = trial_attributes(session, trial.trial_id)
        return take(session, trial, attributes, token=token, worker=worker, process=process)

    verdict = storage.transaction(look, reading=True) if is_waiting else None
    return verdict or storage.transaction(work)


@operation
def claimed_by(storage: SearchStorage, study_id: int, token: str) -> int | None:
    """Id of the trial that the call of ``claim`` with this token took."""
    return storage.transaction(
        lambda session, _: find_claimed(session, study_id, token), reading=True
    )


@operation
def release(
    storage: SearchStorage,
    trial_id: int,
    *,
    reason: str,
    max_failures: int | None,
    error: str | None = None,
    silent_since: datetime | None = None,
) -> TrialState | None:
    """End a RUNNING trial as FAIL and, unless it failed too often, queue its configuration.

    A trial that a user cancelled is not queued again, whatever it ended of.

    Args:
        reason: One line; stored on the trial.
        max_failures: After so many failed attempts a configuration is given up; None: this
            attempt doesn't count as failed; 0: the first one was enough.
        error: Traceback; stored on the trial.
        silent_since: Only if its last heartbeat is not later than this.

    Returns:
        WAITING if the configuration is queued again, FAIL if not, None if nothing was done
        because the trial isn't RUNNING, isn't there or has given a sign of life.
    """
    token = storage.new_token()

    def work(session: Session, again: bool) -> TrialState | None:
        try:
            study_id = lock_study_of(session, trial_id)
            trial = own_trial(session, trial_id)
        except Fenced:
            return _released(session, trial_id, token) if again else None
        last_beat = _last_beat(session, trial_id)
        if silent_since is not None and last_beat > silent_since:
            return None
        frozen = storage._build_frozen_trial_from_trial_model(trial)
        queued, end = _outcome(frozen, reason, max_failures, is_cancelled(session, trial_id))
        if error is not None:
            end["error"] = error
        write_attributes(session, models.TrialUserAttributeModel, trial_id, end)
        if queued:
            forget_rungs(session, trial)
            # What is silent did nothing since.
            seconds = _seconds(frozen, clock(session) if silent_since is None else last_beat)
            successor = retry_of(frozen, failures=end["failures"], seconds=seconds)
            storage._get_prepared_new_trial(study_id, successor, session)
        trial.state = TrialState.FAIL
        trial.datetime_complete = datetime.now()
        state = TrialState.WAITING if queued else TrialState.FAIL
        own = {_RELEASED: [token, state.name]}
        write_attributes(session, models.TrialSystemAttributeModel, trial_id, own)
        return state

    return storage.transaction(work)


def _released(session: Session, trial_id: int, token: str) -> TrialState | None:
    """What an earlier try of the same call made of the trial, if it was that one."""
    attributes = models.TrialSystemAttributeModel.where_trial_id(trial_id, session)
    for row in attributes:
        if row.key == _RELEASED and (mark := json.loads(row.value_json))[0] == token:
            return TrialState[mark[1]]
    return None


def _outcome(
    trial: FrozenTrial, reason: str, max_failures: int | None, cancelled: bool
) -> tuple[bool, dict[str, Any]]:
    """Whether the configuration is queued again, and what is stored on the trial."""
    failures = trial.user_attrs.get("failures", 0)
    if cancelled:
        return False, {"fail_reason": "cancelled", "failures": failures}
    failures += max_failures is not None
    queued = max_failures is None or failures < max_failures
    given_up = f"; given up after {failures} failed attempts" if failures > 1 else ""
    return queued, {"fail_reason": reason + ("" if queued else given_up), "failures": failures}


def _last_beat(session: Session, trial_id: int) -> datetime:
    beat = models.TrialHeartbeatModel.where_trial_id(trial_id, session)
    return datetime.min if beat is None else beat.heartbeat


def _seconds(trial: FrozenTrial, ran_to: datetime) -> float:
    """How long this attempt and those before it ran."""
    before: float = trial.user_attrs.get(SECONDS_BEFORE, 0.0)
    began = trial.system_attrs.get(CLAIMED_AT)
    if began is None:  # taken by some other tool
        return before
    return before + max((ran_to - datetime.fromisoformat(began)).total_seconds(), 0.0)
