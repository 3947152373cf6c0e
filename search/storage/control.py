"""What users ask of a study that is running: to pause, to go on, to stop, to drop a trial.

All of it stands in the study's database, so it may be asked from any machine. Workers look between
two evaluations and before they take a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.storage.budget import DEADLINE, HANG_TIMEOUT, TRIAL_TIMEOUT, Verdict, seconds_to
from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import (
    lock_study,
    models,
    set_study_attributes,
    study_attributes,
    trial_attributes,
)

# User attributes of a study: what it is to do, a verdict's name or nothing; how often it was
# stopped; why it failed.
STATE, STOPS, FAILURE = "control", "stops", "failure"
# How many trials it had when its failures were last forgiven, and the numbers of those among them
# that had not ended: what had ended counts no more.
FAILURES_FROM, FAILURES_ALSO = "failures_from", "failures_also"
# Which launch was the last, if that has a name.
LAUNCH = "launch"
# System attribute of a trial that shall end.
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Control:
    """What the study is to do.

    Attributes:
        verdict: PAUSED, STOPPED, FAILED, or None while it runs.
        stops: How often it was stopped. A worker that has seen fewer stops ends, even if the
            study was started again before it looked.
        failure: With FAILED, why.
    """

    verdict: Verdict | None = None
    stops: int = 0
    failure: str = ""

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Control:
        """Read from the user attributes of a study."""
        # Another program may have something else under these names.
        stops = attributes.get(STOPS)
        return cls(
            Verdict.__members__.get(str(attributes.get(STATE))),
            stops if isinstance(stops, int) else 0,
            str(attributes.get(FAILURE) or ""),
        )


@dataclass(frozen=True)
class Orders:
    """What a worker heeds between two evaluations.

    Attributes:
        seconds_left: Until the study's deadline.
        cancelled: The worker's trial shall end.
    """

    control: Control = Control()
    seconds_left: float | None = None
    trial_timeout_seconds: float | None = None
    hang_timeout_seconds: float | None = None
    cancelled: bool = False


_READ = (STATE, STOPS, FAILURE, DEADLINE, TRIAL_TIMEOUT, HANG_TIMEOUT)


@operation
def read_orders(
    storage: SearchStorage, study_id: int, trial_id: int | None = None, *, patient: bool = True
) -> Orders:
    """The study's orders as they stand, those for the trial included."""

    def work(session: Session, again: bool) -> Orders:
        attributes = study_attributes(session, study_id, _READ)
        return Orders(
            control=Control.of(attributes),
            seconds_left=seconds_to(attributes.get(DEADLINE), session),
            trial_timeout_seconds=attributes.get(TRIAL_TIMEOUT),
            hang_timeout_seconds=attributes.get(HANG_TIMEOUT),
            cancelled=trial_id is not None and is_cancelled(session, trial_id),
        )

    return storage.transaction(work, reading=True, patient=patient)


@operation
def control_of(storage: SearchStorage, study_id: int) -> Control:
    """Whether the study runs, is paused or stopped."""
    return read_orders(storage, study_id).control


@operation
def pause(storage: SearchStorage, study_id: int) -> None:
    """Have all workers hand their trials back and wait.

    Raises:
        SearchError: The study is stopped.
    """

    def change(control: Control) -> dict[str, Any]:
        if control.verdict not in (None, Verdict.PAUSED):
            raise SearchError(f"the study cannot be paused: {control.verdict.value}")
        return {STATE: Verdict.PAUSED.name}

    _change(storage, study_id, change)


@operation
def resume(storage: SearchStorage, study_id: int) -> None:
    """Let a study that is paused, stopped or failed go on; what made it fail counts no more."""

    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        control = Control.of(study_attributes(session, study_id, _READ))
        values = {STATE: None, FAILURE: None}
        if control.verdict is Verdict.FAILED:
            values |= _forgiven(session, study_id)
        set_study_attributes(session, study_id, values)

    storage.transaction(work)


@operation
def stop(storage: SearchStorage, study_id: int) -> None:
    """End all workers of the study, once they have handed their trials back."""

    def change(control: Control) -> dict[str, Any]:
        return {STATE: Verdict.STOPPED.name, STOPS: control.stops + 1, FAILURE: None}

    _change(storage, study_id, change)


@operation
def lift_stop(storage: SearchStorage, study_id: int, *, launch: str | None = None) -> Control:
    """Begin anew after a stop or a failure, as a launch does; a pause stays.

    Args:
        launch: What tells this launch from others. One that its supervisor starts again, under
            the same name, forgives no failures: a person does.

    Returns:
        How the study stands now.
    """

    def work(session: Session, again: bool) -> Control:
        lock_study(session, study_id)
        attributes = study_attributes(session, study_id, (*_READ, LAUNCH))
        control = Control.of(attributes)
        values: dict[str, Any] = {}
        if launch is None or launch != attributes.get(LAUNCH):
            values |= _forgiven(session, study_id)
        elif control.verdict is Verdict.FAILED:
            return control
        if launch is not None:
            values[LAUNCH] = launch
        if control.verdict is not Verdict.PAUSED:
            values |= {STATE: None, FAILURE: None}
            control = Control(stops=control.stops)
        set_study_attributes(session, study_id, values)
        return control

    return storage.transaction(work)


def _forgiven(session: Session, study_id: int) -> dict[str, Any]:
    trial = models.TrialModel
    rows = session.query(trial.number, trial.state).filter(trial.study_id == study_id).all()
    unfinished = sorted(number for number, state in rows if not state.is_finished())
    return {FAILURES_FROM: len(rows), FAILURES_ALSO: unfinished}


def fail(session: Session, study_id: int, reason: str) -> None:
    """End all workers of the study with an error; the study's lock is held."""
    set_study_attributes(session, study_id, {STATE: Verdict.FAILED.name, FAILURE: reason})


def _change(storage: SearchStorage, study_id: int, change: Any) -> None:
    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        control = Control.of(study_attributes(session, study_id, _READ))
        set_study_attributes(session, study_id, change(control))

    storage.transaction(work)


@operation
def cancel(storage: SearchStorage, study_id: int, number: int) -> TrialState:
    """End a trial as FAIL with the reason "cancelled"; its configuration is not tried again.

    Returns:
        FAIL if it has ended, RUNNING if its worker ends it at its next evaluation.

    Raises:
        SearchError: There is no such trial, or it has ended already.
    """

    def work(session: Session, again: bool) -> TrialState:
        lock_study(session, study_id)
        trial = (
            session.query(models.TrialModel)
            .filter(models.TrialModel.study_id == study_id, models.TrialModel.number == number)
            .with_for_update()
            .one_or_none()
        )
        if trial is None:
            raise SearchError(f"there is no trial {number} in the study: give --trial NUMBER")
        if trial.state.is_finished():
            if again and is_cancelled(session, trial.trial_id):
                return TrialState.FAIL
            raise SearchError(_ended(session, trial))
        storage._set_trial_attr_without_commit(
            session, models.TrialSystemAttributeModel, trial.trial_id, CANCELLED, True
        )
        if trial.state == TrialState.WAITING:
            storage._set_trial_attr_without_commit(
                session, models.TrialUserAttributeModel, trial.trial_id, "fail_reason", "cancelled"
            )
            trial.state = TrialState.FAIL
            trial.datetime_complete = datetime.now()
        return trial.state

    return storage.transaction(work)


def is_cancelled(session: Session, trial_id: int) -> bool:
    """Whether the trial shall end, or ended, because a user said so."""
    attribute = models.TrialSystemAttributeModel
    query = session.query(attribute.trial_id).filter(attribute.trial_id == trial_id)
    return query.filter(attribute.key == CANCELLED).first() is not None


def _ended(session: Session, trial: Any) -> str:
    """What to say of a trial that has ended, and under which number it goes on."""
    line = f"trial {trial.number} has ended already ({trial.state.name})"
    later = (
        session.query(models.TrialModel)
        .filter(models.TrialModel.study_id == trial.study_id)
        .filter(models.TrialModel.state.in_((TrialState.WAITING, TrialState.RUNNING)))
    )
    root = trial_attributes(session, trial.trial_id).get("root")
    for other in later:
        attributes = trial_attributes(session, other.trial_id)
        if "retry_of" in attributes and attributes["root"] == root:
            return f"{line}; it goes on as trial {other.number}: give that number"
    return line
