"""Rows of Optuna's tables, read and written within a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.storages._rdb import models as optuna_models
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Float, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from search.errors import Fenced, StudyDeleted

# Its columns look untyped to mypy.
models: Any = optuna_models
_GOING_ON = (TrialState.RUNNING, TrialState.WAITING)


def clock(session: Session) -> datetime:
    """The database's time, naive UTC: hosts' clocks differ."""
    now = session.scalar(sqlalchemy.text(f"SELECT {_clock_of(session.connection())}"))
    return now if isinstance(now, datetime) else datetime.fromisoformat(str(now))


def _clock_of(connection: Connection) -> str:
    if _is_sqlite(connection):
        # Milliseconds, written as SQLAlchemy writes a time.
        return "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"
    return "(clock_timestamp() AT TIME ZONE 'UTC')"


def _insert(table: Any, *, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    return (sqlite.insert if is_sqlite else postgresql.insert)(table)


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def lock_study(session: Session, study_id: int) -> None:
    """Hold the study's row to the end of the transaction: one change of its queue at a time.

    Raises:
        StudyDeleted: It is not there.
    """
    study = session.query(models.StudyModel).filter_by(study_id=study_id).with_for_update()
    if study.one_or_none() is None:
        raise StudyDeleted


def hold_text(session: Session, study_id: int, text: str) -> None:
    """To the end of the transaction no other one of the study holds the same text."""
    if not _is_sqlite(session.connection()):  # there, one transaction writes at a time
        lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:study_id, hashtext(:text))")
        session.execute(lock, {"study_id": study_id, "text": text})


def lock_study_of(session: Session, trial_id: int) -> int:
    """``lock_study`` of a trial's study; returns the study's id.

    Raises:
        Fenced: There is no such trial.
    """
    study_id = study_of(session, trial_id)
    lock_study(session, study_id)
    return study_id


def study_of(session: Session, trial_id: int) -> int:
    """The id of a trial's study.

    Raises:
        Fenced: There is no such trial: a server that took over may lack the last ones.
    """
    # The id alone: an object read before the lock would be handed out again after it.
    query = session.query(models.TrialModel.study_id)
    study_id = query.filter(models.TrialModel.trial_id == trial_id).scalar()
    if study_id is None:
        raise Fenced
    return int(study_id)


def own_trial(session: Session, trial_id: int) -> Any:
    """A RUNNING trial, its row locked.

    Raises:
        Fenced: It is not RUNNING any more, or not there.
    """
    trial = (
        session.query(models.TrialModel)
        .filter_by(trial_id=trial_id)
        .with_for_update()
        .one_or_none()
    )
    if trial is None or trial.state != TrialState.RUNNING:
        raise Fenced
    return trial


def beat(connection: Connection, trial_id: int) -> None:
    """Say that the trial's worker lives; nothing is written of a trial that has ended."""
    connection.execute(_beating(_clock_of(connection)), {"beating": trial_id})


def report(connection: Connection, trial_id: int, step: int, value: float) -> bool:
    """Store the value of a step, which is a sign of life, too; False, and nothing is stored, if
    the trial is not there or ended."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    given = {"of_trial": trial_id, "at_step": step, "stored": stored, "kind": kind}
    if _is_sqlite(connection):
        done = connection.execute(_reporting(is_sqlite=True), given).first() is not None
        beat(connection, trial_id)
        return done
    statement = _reporting_and_beating(_clock_of(connection))
    return connection.execute(statement, {**given, "beating": trial_id}).first() is not None


# Made once: with each evaluation of a trial, making them took longer than the database.
@lru_cache
def _beating(clock: str) -> sqlalchemy.Update:
    beats = models.TrialHeartbeatModel.__table__
    trials = models.TrialModel.__table__
    beating = trials.c.trial_id == bindparam("beating")
    going_on = sqlalchemy.select(trials.c.trial_id).where(beating, trials.c.state.in_(_GOING_ON))
    statement = sqlalchemy.update(beats).where(beats.c.trial_id.in_(going_on))
    return statement.values(heartbeat=sqlalchemy.literal_column(clock))


@lru_cache
def _reporting_and_beating(clock: str) -> Any:
    # One way to the server and back instead of two, with each evaluation of a trial.
    return _reporting(is_sqlite=False).add_cte(_beating(clock).cte("beat"))


@lru_cache
def _reporting(*, is_sqlite: bool) -> Any:
    trials = models.TrialModel.__table__
    table = models.TrialIntermediateValueModel.__table__
    names = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    given = zip(("at_step", "stored", "kind"), names[1:], strict=True)
    going_on = sqlalchemy.select(
        trials.c.trial_id, *(bindparam(name, type_=table.c[column].type) for name, column in given)
    ).where(
        trials.c.trial_id == bindparam("of_trial"),
        trials.c.state.in_(_GOING_ON),
    )
    statement = _insert(table, is_sqlite=is_sqlite).from_select(names, going_on)
    again = {name: statement.excluded[name] for name in names[2:]}
    keys = [table.c[name] for name in names[:2]]
    done = statement.on_conflict_do_update(index_elements=keys, set_=again)
    return done.returning(table.c.step)


def study_attributes(session: Session, study_id: int, keys: Iterable[str]) -> dict[str, Any]:
    """Those user attributes of the study that are there."""
    attribute = models.StudyUserAttributeModel
    rows = (
        session.query(attribute.key, attribute.value_json)
        .filter(attribute.study_id == study_id)
        .filter(attribute.key.in_(tuple(keys)))
    )
    return {key: json.loads(value) for key, value in rows}


def set_study_attributes(session: Session, study_id: int, values: Mapping[str, Any]) -> None:
    """Write user attributes of the study, whose lock is held."""
    attribute = models.StudyUserAttributeModel
    rows = (
        session.query(attribute)
        .filter(attribute.study_id == study_id)
        .filter(attribute.key.in_(tuple(values)))
    )
    there = {row.key: row for row in rows}
    for key, value in values.items():
        if key in there:
            there[key].value_json = json.dumps(value)
        else:
            session.add(attribute(study_id=study_id, key=key, value_json=json.dumps(value)))


def write_attributes(
    session: Session, table: Any, trial_id: int, values: Mapping[str, Any]
) -> None:
    """Write attributes of a trial that has not ended, in one statement.

    Args:
        table: ``models.TrialUserAttributeModel`` or ``models.TrialSystemAttributeModel``.
    """
    if not values:
        return
    statement = _insert(table, is_sqlite=_is_sqlite(session.connection())).values(
        [{"trial_id": trial_id, "key": k, "value_json": json.dumps(v)} for k, v in values.items()]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=(table.trial_id, table.key),
            set_={"value_json": statement.excluded.value_json},
        )
    )


def trial_attributes(session: Session, trial_id: int) -> dict[str, Any]:
    """The user attributes of a trial."""
    rows = models.TrialUserAttributeModel.where_trial_id(trial_id, session)
    return {row.key: json.loads(row.value_json) for row in rows}


def within_limits() -> ColumnElement[bool]:
    """A condition on trials: none of their constraints, as Optuna 5 stores them, is above 0."""
    attribute = models.TrialSystemAttributeModel
    is_constraint = attribute.key.startswith("constraints:")
    # CASE: other attributes are no numbers, and PostgreSQL may look at a cast first.
    excess = sqlalchemy.case(
        (is_constraint, sqlalchemy.cast(attribute.value_json, Float)), else_=0
    )
    return ~models.TrialModel.system_attributes.any(excess > 0)


def count_states_in(session: Session, study_id: int) -> dict[TrialState, int]:
    """How many trials of the study are in each state."""
    rows = (
        session.query(models.TrialModel.state, sqlalchemy.func.count())
        .filter(models.TrialModel.study_id == study_id)
        .group_by(models.TrialModel.state)
    )
    return {state: count for state, count in rows}
