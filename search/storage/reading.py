"""Trials read from Optuna's tables row by row.

Optuna makes an object of every row first, of which a trial has thirty: with 5,000 trials a worker
took seven seconds to its first one. Written for the tables of Optuna 5.0.

In the transaction the rows are fetched, and trials are built of them after it: of many trials that
takes seconds, in which a transaction would idle, and hold what others wait for.
"""

from __future__ import annotations

import functools
import gc
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from search.storage.rows import models
from search.times import local_time

# So many ids may stand in a statement; SQLite takes 32,766 variables at most.
_MOST_IDS = 500

# A trial's own row: id, number, state, start and end.
_Head = tuple[int, int, TrialState, datetime | None, datetime | None]


@dataclass(frozen=True)
class TrialRows:
    """Some trials as they stand in the tables; ``build`` makes trials of them."""

    heads: Sequence[_Head]
    params: Sequence[Any] = ()
    values: Sequence[Any] = ()
    curves: Sequence[Any] = ()
    user: Sequence[Any] = ()
    system: Sequence[Any] = ()


def fetch_trial(session: Session, trial_id: int) -> TrialRows:
    """One trial.

    Raises:
        KeyError: There is none with this id.
    """
    condition = models.TrialModel.trial_id == trial_id
    heads = _heads(session, condition)
    if not heads:
        raise KeyError(f"no trial with id {trial_id}")
    return _fetch(session, heads, condition)


def fetch_trials(
    session: Session,
    study_id: int,
    *,
    states: Collection[TrialState] | None,
    included: Collection[int],
    later_than: int,
) -> TrialRows:
    """Trials of a study by id: those ``later_than`` an id, and the ``included`` ones before it."""
    trial = models.TrialModel
    condition = trial.study_id == study_id
    if states is not None:
        condition &= trial.state.in_(tuple(states))
    earlier = {trial_id for trial_id in included if trial_id <= later_than}
    if later_than >= 0 and len(earlier) <= _MOST_IDS:
        condition &= (trial.trial_id > later_than) | trial.trial_id.in_(tuple(earlier))
    elif later_than >= 0:
        condition &= trial.trial_id >= min(earlier)
    # Heads first: of a trial that has ended by now, what follows is complete.
    heads = _heads(session, condition)
    wanted = [head for head in heads if head[0] > later_than or head[0] in earlier]
    return _fetch(session, wanted, condition)


class TrialMemory:
    """Trials of a database that have ended, each read once: they change no more."""

    def __init__(self) -> None:
        # By all that is in a trial's own row. SQLite gives the ids of deleted trials again: one
        # of the same id may be another.
        self._ended: dict[int, dict[_Head, FrozenTrial]] = {}

    def fetch(self, session: Session, study_id: int) -> tuple[Sequence[_Head], TrialRows]:
        """All trials of a study by id, for ``build``: the rows of those that it does not know."""
        condition = models.TrialModel.study_id == study_id
        heads = _heads(session, condition)
        known = self._ended.get(study_id, {})
        return heads, _fetch(session, [head for head in heads if head not in known], condition)

    def build(
        self, study_id: int, fetched: tuple[Sequence[_Head], TrialRows]
    ) -> list[FrozenTrial]:
        """The trials that ``fetch`` found."""
        heads, rows = fetched
        known = self._ended.get(study_id, {})
        found = dict(zip(rows.heads, build(rows), strict=True))
        trials = {head: known.get(head) or found[head] for head in heads}
        self._ended[study_id] = {
            head: trial for head, trial in trials.items() if trial.state.is_finished()
        }
        return list(trials.values())


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without searches for cycles: there are none, and they took half the time of many rows."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _heads(session: Session, condition: ColumnElement[bool]) -> list[_Head]:
    """What stands in the trials' own rows: id, number, state, start and end."""
    table = models.TrialModel.__table__
    names = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
    statement = sqlalchemy.select(*(table.c[name] for name in names)).where(condition)
    rows = session.connection().execute(statement.order_by(table.c.trial_id))
    return [tuple(row) for row in rows]


@_uncollected()
def _fetch(session: Session, heads: Sequence[_Head], condition: ColumnElement[bool]) -> TrialRows:
    """All rows of the trials of ``heads``, all of which meet the condition."""
    if not heads:
        return TrialRows(heads)
    # A few of many: databases find their rows faster by these than by the condition.
    ids = [head[0] for head in heads] if len(heads) <= _MOST_IDS else None
    connection = session.connection()

    def rows(model: Any, *names: str) -> Sequence[Any]:
        """The trial's id and these columns, in the order in which they were written."""
        if ids is not None:
            return connection.execute(_of_few(model, names), {"ids": ids}).all()
        trials = models.TrialModel.__table__
        statement, of_trial = _columns(model, names)
        statement = statement.join(trials, trials.c.trial_id == of_trial)
        return connection.execute(statement.where(condition)).all()

    return TrialRows(
        heads,
        rows(models.TrialParamModel, "param_name", "param_value", "distribution_json"),
        rows(models.TrialValueModel, "objective", "value", "value_type"),
        rows(
            models.TrialIntermediateValueModel,
            "step",
            "intermediate_value",
            "intermediate_value_type",
        ),
        rows(models.TrialUserAttributeModel, "key", "value_json"),
        rows(models.TrialSystemAttributeModel, "key", "value_json"),
    )


@_uncollected()
def build(rows: TrialRows) -> list[FrozenTrial]:
    """The trials, in the order of their rows. Needs no transaction."""
    params, values, curves, user, system = map(
        _by_trial, (rows.params, rows.values, rows.curves, rows.user, rows.system)
    )
    step_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return [
        FrozenTrial(
            number=number,
            trial_id=trial_id,
            state=state,
            value=None,
            values=_values(values[trial_id]),
            datetime_start=start and local_time(start),
            datetime_complete=complete and local_time(complete),
            params={
                name: _distribution(text).to_external_repr(value)
                for _, name, value, text in params[trial_id]
            },
            distributions={name: _distribution(text) for _, name, _, text in params[trial_id]},
            user_attrs={key: json.loads(text) for _, key, text in user[trial_id]},
            system_attrs={key: json.loads(text) for _, key, text in system[trial_id]},
            intermediate_values={
                step: step_value(value, kind) for _, step, value, kind in curves[trial_id]
            },
        )
        for trial_id, number, state, start, complete in rows.heads
    ]


def _by_trial(rows: Sequence[Any]) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


# Made once: a worker reads its own trial and those of others ten times in each of its trials.
@functools.lru_cache
def _of_few(model: Any, names: tuple[str, ...]) -> sqlalchemy.Select[Any]:
    statement, of_trial = _columns(model, names)
    return statement.where(of_trial.in_(sqlalchemy.bindparam("ids", expanding=True)))


def _columns(
    model: Any, names: tuple[str, ...]
) -> tuple[sqlalchemy.Select[Any], ColumnElement[int]]:
    # Tables and the bare connection: models would cost two more passes over all rows.
    table = model.__table__
    statement = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in names))
    return statement.order_by(*table.primary_key), table.c.trial_id


def _values(rows: list[Any]) -> list[float] | None:
    if not rows:
        return None
    of = models.TrialValueModel.stored_repr_to_value
    return [of(value, kind) for _, _, value, kind in sorted(rows, key=lambda row: row[1])]


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    # All trials of a space share a few; nobody changes one.
    return json_to_distribution(text)
