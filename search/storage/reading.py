"""Trials read from Optuna's tables row by row.

Optuna makes an object of every row first, of which a trial has thirty: with 5,000 trials a worker
took seven seconds to its first one. Written for the tables of Optuna 5.0.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from search.storage.rows import models

# So many ids may stand in a statement; SQLite takes 32,766 variables at most.
_MOST_IDS = 500


def read_trial(session: Session, trial_id: int) -> FrozenTrial:
    """One trial.

    Raises:
        KeyError: There is none with this id.
    """
    trials = _read(session, models.TrialModel.trial_id == trial_id)
    if not trials:
        raise KeyError(f"no trial with id {trial_id}")
    return trials[0]


def read_trials(
    session: Session,
    study_id: int,
    *,
    states: Collection[TrialState] | None,
    included: Collection[int],
    later_than: int,
) -> list[FrozenTrial]:
    """Trials of a study by id: those ``later_than`` an id, and the ``included`` ones before it."""
    trial = models.TrialModel
    condition = trial.study_id == study_id
    if states is not None:
        condition &= trial.state.in_(tuple(states))
    earlier = {trial_id for trial_id in included if trial_id <= later_than}
    if later_than < 0:
        return _read(session, condition)
    if len(earlier) <= _MOST_IDS:
        wanted = (trial.trial_id > later_than) | trial.trial_id.in_(tuple(earlier))
        return _read(session, condition & wanted)
    found = _read(session, condition & (trial.trial_id >= min(earlier)))
    return [t for t in found if t._trial_id > later_than or t._trial_id in earlier]


def _read(session: Session, condition: ColumnElement[bool]) -> list[FrozenTrial]:
    table = models.TrialModel
    columns = (table.trial_id, table.number, table.state)
    times = (table._datetime_start_utc, table._datetime_complete_utc)
    statement = sqlalchemy.select(*columns, *times).where(condition).order_by(table.trial_id)
    # First: of a trial that has ended by now, what follows is complete.
    trials = session.execute(statement).all()
    if not trials:
        return []
    if len(trials) <= _MOST_IDS:
        # A few of many: databases find their rows faster by these than by the condition.
        condition = table.trial_id.in_([trial.trial_id for trial in trials])
    rows = _Rows(session, condition)
    params = rows.grouped(models.TrialParamModel, "param_name", "param_value", "distribution_json")
    values = rows.grouped(models.TrialValueModel, "objective", "value", "value_type")
    curves = rows.grouped(
        models.TrialIntermediateValueModel, "step", "intermediate_value", "intermediate_value_type"
    )
    user = rows.grouped(models.TrialUserAttributeModel, "key", "value_json")
    system = rows.grouped(models.TrialSystemAttributeModel, "key", "value_json")
    return [
        FrozenTrial(
            number=number,
            trial_id=trial_id,
            state=state,
            value=None,
            values=_values(values[trial_id]),
            datetime_start=_local(start),
            datetime_complete=_local(complete),
            params={
                name: _distribution(text).to_external_repr(value)
                for name, value, text in params[trial_id]
            },
            distributions={name: _distribution(text) for name, _, text in params[trial_id]},
            user_attrs={key: json.loads(text) for key, text in user[trial_id]},
            system_attrs={key: json.loads(text) for key, text in system[trial_id]},
            intermediate_values={
                step: models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(
                    value, kind
                )
                for step, value, kind in curves[trial_id]
            },
        )
        for trial_id, number, state, start, complete in trials
    ]


class _Rows:
    """Rows that belong to the trials of a condition."""

    def __init__(self, session: Session, condition: ColumnElement[bool]) -> None:
        self._session = session
        self._condition = condition

    def grouped(self, table: Any, *names: str) -> defaultdict[int, list[Any]]:
        """These columns by trial, in the order in which they were written."""
        statement = (
            sqlalchemy.select(table.trial_id, *(getattr(table, name) for name in names))
            .join(models.TrialModel, models.TrialModel.trial_id == table.trial_id)
            .where(self._condition)
            .order_by(*sqlalchemy.inspect(table).primary_key)
        )
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for trial_id, *row in self._session.execute(statement):
            found[trial_id].append(row)
        return found


def _values(rows: list[Any]) -> list[float] | None:
    if not rows:
        return None
    of = models.TrialValueModel.stored_repr_to_value
    return [of(value, kind) for _, value, kind in sorted(rows, key=lambda row: row[0])]


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    # All trials of a space share a few; nobody changes one.
    return json_to_distribution(text)


def _local(moment: datetime | None) -> datetime | None:
    """As Optuna has it: naive UTC in the database, naive local time in a trial."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
