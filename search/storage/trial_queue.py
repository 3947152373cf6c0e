"""The study as a queue of trials: taking one, ending one, handing one on.

Each function is one transaction under the lock of the study's row, and may be repeated after an
answer that was lost. Invariant: COMPLETE + PRUNED + RUNNING + WAITING trials never exceed the
budget, except when the budget is lowered or more trials are enqueued than it admits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models as optuna_models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.errors import Fenced
from search.storage.budget import Verdict, admission, clock
from search.storage.overrides import CLAIM, SearchStorage, find_claimed

# Its columns look untyped to mypy.
models: Any = optuna_models
# System attribute of a trial: its parameters in one canonical text.
PARAMS_KEY = "params_key"
_RUNG = "completed_rung_"
# What a retried trial keeps of its origin's system attributes: what fixes its parameters, and what
# samplers and pruners know of it. All else (constraints, liars, artifacts) it makes anew.
_KEPT = ("fixed_params", "grid_id", "search_space", "x_for_tell", "cma:", _RUNG, PARAMS_KEY)


_OF_ONE_ATTEMPT = {"worker", "resumed_from", "fail_reason", "error"}


@dataclass(frozen=True)
class Claim:
    """A trial that is RUNNING for this worker.

    Attributes:
        configuration: Ordinal of its configuration in the study; its attempts share it.
        root: Number of its first attempt; names its checkpoint.
        attempt: 1 for the first.
    """

    trial_id: int
    number: int
    configuration: int
    root: int
    attempt: int


def claim(storage: SearchStorage, study_id: int, *, token: str, worker: str) -> Claim | Verdict:
    """Take the first WAITING trial, or create one if the budget admits it.

    Args:
        token: Unique to this call, so that a repeat finds what its lost first try took.
        worker: Who takes it; stored on the trial.
    """

    def look(session: Session, again: bool) -> Verdict | None:
        return admission(session, study_id)[0]

    def work(session: Session, again: bool) -> Claim | Verdict:
        models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        if again and (trial_id := find_claimed(session, study_id, token)) is not None:
            return _read_claim(session, trial_id)
        verdict, has_waiting = admission(session, study_id)
        if verdict is not None:
            return verdict
        if not has_waiting:
            trial = storage._get_prepared_new_trial(study_id, None, session)
        elif (trial := _pop_waiting(session, study_id)) is None:
            return Verdict.WAIT  # a tool that doesn't take the study's lock was faster
        return _take(storage, session, trial, token=token, worker=worker)

    # Workers that wait look on without a lock.
    return storage.transaction(look, reading=True) or storage.transaction(work)


def _pop_waiting(session: Session, study_id: int) -> Any:
    # The row's lock, too, for the sake of Optuna's own tools, which don't take the study's.
    return (
        session.query(models.TrialModel)
        .filter(models.TrialModel.study_id == study_id)
        .filter(models.TrialModel.state == TrialState.WAITING)
        .order_by(models.TrialModel.trial_id)
        .with_for_update()
        .first()
    )


def _take(
    storage: SearchStorage, session: Session, trial: Any, *, token: str, worker: str
) -> Claim:
    attributes = user_attributes(session, trial.trial_id)
    new: dict[str, Any] = {"worker": worker}
    if "configuration" not in attributes:
        # Dense over interruptions and crashes, so that seeds drawn from it repeat.
        new |= {
            "configuration": trial.number - _count_retries(session, trial),
            "root": trial.number,
            "attempt": 1,
        }
    _set_attributes(storage, session, trial.trial_id, new)
    storage._set_trial_attr_without_commit(
        session, models.TrialSystemAttributeModel, trial.trial_id, CLAIM, token
    )
    # In this transaction: killed at any moment, the trial has a heartbeat that can stop.
    session.add(models.TrialHeartbeatModel(trial_id=trial.trial_id, heartbeat=clock(session)))
    trial.state = TrialState.RUNNING
    trial.datetime_start = datetime.now()
    session.flush()
    return _read_claim(session, trial.trial_id)


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


def _read_claim(session: Session, trial_id: int) -> Claim:
    trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
    attributes = user_attributes(session, trial_id)
    return Claim(
        trial_id=trial_id,
        number=trial.number,
        configuration=attributes["configuration"],
        root=attributes["root"],
        attempt=attributes["attempt"],
    )


def user_attributes(session: Session, trial_id: int) -> dict[str, Any]:
    """The user attributes of a trial."""
    rows = models.TrialUserAttributeModel.where_trial_id(trial_id, session)
    return {row.key: json.loads(row.value_json) for row in rows}


def _set_attributes(
    storage: SearchStorage, session: Session, trial_id: int, attributes: Mapping[str, Any]
) -> None:
    for key, value in attributes.items():
        storage._set_trial_attr_without_commit(
            session, models.TrialUserAttributeModel, trial_id, key, value
        )


def resume_at(storage: SearchStorage, trial_id: int, step: int) -> None:
    """Forget what a retried trial inherited from after ``step``, the one it goes on from."""

    def work(session: Session, again: bool) -> None:
        trial = _own(session, trial_id)
        kept = set()
        for row in list(trial.intermediate_values):
            if row.step > step:
                session.delete(row)
            else:
                kept.add(row.intermediate_value)
        for row in list(trial.system_attributes):
            # A rung holds the value of the step at which the trial passed it.
            if row.key.startswith(_RUNG) and json.loads(row.value_json) not in kept:
                session.delete(row)
        _set_attributes(storage, session, trial_id, {"resumed_from": step})

    storage.transaction(work)


def write_params(
    storage: SearchStorage,
    trial_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    *,
    key: str,
    known_to: int | None,
) -> int | None:
    """Write all parameters of a new trial at once, unless another trial has the same.

    Args:
        key: The parameters in one canonical text.
        known_to: Trials with ids up to this one need no look; None: write in any case.

    Returns:
        The number of the trial that has these parameters, or None when they are written.

    Raises:
        Fenced: The trial is no longer this worker's.
    """

    def work(session: Session, again: bool) -> int | None:
        _lock_study_of(session, trial_id)
        trial = _own(session, trial_id)
        if again and trial.params:
            return None
        if known_to is not None:
            twin = _find_twin(session, trial, key, known_to)
            if twin is not None:
                return twin
        # In one go: Optuna takes a transaction, and four queries, for each.
        session.add_all(
            models.TrialParamModel(
                trial_id=trial_id,
                param_name=name,
                param_value=distributions[name].to_internal_repr(value),
                distribution_json=distribution_to_json(distributions[name]),
            )
            for name, value in params.items()
        )
        storage._set_trial_attr_without_commit(
            session, models.TrialSystemAttributeModel, trial_id, PARAMS_KEY, key
        )
        return None

    return storage.transaction(work)


def _find_twin(session: Session, trial: Any, key: str, known_to: int) -> int | None:
    attribute = models.TrialSystemAttributeModel
    row = (
        session.query(models.TrialModel.number)
        .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
        .filter(models.TrialModel.study_id == trial.study_id)
        .filter(models.TrialModel.trial_id > known_to)
        .filter(models.TrialModel.trial_id != trial.trial_id)
        .filter(attribute.key == PARAMS_KEY, attribute.value_json == json.dumps(key))
        .first()
    )
    return None if row is None else row[0]


def _lock_study_of(session: Session, trial_id: int) -> int:
    # The id alone: an object read before the lock would be handed out again after it.
    query = session.query(models.TrialModel.study_id)
    study_id = int(query.filter(models.TrialModel.trial_id == trial_id).scalar())
    models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
    return study_id


def _own(session: Session, trial_id: int) -> Any:
    trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
    if trial.state != TrialState.RUNNING:
        raise Fenced
    return trial


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

    Args:
        reason: One line; stored on the trial.
        max_failures: After so many failed attempts a configuration is given up; None: this
            attempt doesn't count as failed; 0: the first one was enough.
        error: Traceback; stored on the trial.
        silent_since: Only if its last heartbeat is not later than this.

    Returns:
        WAITING if the configuration is queued again, FAIL if not, None if nothing was done
        because the trial isn't RUNNING or has given a sign of life.
    """

    def work(session: Session, again: bool) -> TrialState | None:
        study_id = _lock_study_of(session, trial_id)
        trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        if trial.state != TrialState.RUNNING:
            return None
        if silent_since is not None and _last_beat(session, trial_id) > silent_since:
            return None
        frozen = storage._build_frozen_trial_from_trial_model(trial)
        failures = frozen.user_attrs.get("failures", 0) + (max_failures is not None)
        queued = max_failures is None or failures < max_failures
        given_up = f"; given up after {failures} failed attempts" if failures > 1 else ""
        end = {"fail_reason": reason + ("" if queued else given_up), "failures": failures}
        if error is not None:
            end["error"] = error
        _set_attributes(storage, session, trial_id, end)
        if queued:
            _forget_rungs(session, trial)
            storage._get_prepared_new_trial(study_id, _retry_of(frozen, failures), session)
        trial.state = TrialState.FAIL
        trial.datetime_complete = datetime.now()
        return TrialState.WAITING if queued else TrialState.FAIL

    return storage.transaction(work)


def _last_beat(session: Session, trial_id: int) -> datetime:
    beat = models.TrialHeartbeatModel.where_trial_id(trial_id, session)
    return datetime.min if beat is None else beat.heartbeat


def _forget_rungs(session: Session, trial: Any) -> None:
    # They go on with the retried trial. Left here too, its values would compete with themselves.
    for row in list(trial.system_attributes):
        if row.key.startswith(_RUNG):
            session.delete(row)


def _retry_of(trial: FrozenTrial, failures: int) -> FrozenTrial:
    """The same configuration, WAITING for its next attempt."""
    first = trial.user_attrs
    inherited = {key: value for key, value in first.items() if key not in _OF_ONE_ATTEMPT}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.WAITING,
        value=None,
        values=None,
        datetime_start=None,
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={
            **inherited,
            "configuration": first.get("configuration", trial.number),
            "root": first.get("root", trial.number),
            "attempt": first.get("attempt", 1) + 1,
            "failures": failures,
            "retry_of": trial.number,
        },
        system_attrs={
            key: value for key, value in trial.system_attrs.items() if key.startswith(_KEPT)
        },
        # All of them: who takes the trial knows its checkpoint, and forgets what came after.
        intermediate_values=trial.intermediate_values,
    )
