"""A study copied from one database to another, row by row: nothing is lost, or nothing is written.

``optuna.copy_study`` writes trial by trial. It takes times through the local clock, which shows an
hour of each year twice; leaves heartbeats behind, and the dashboard's notes under the ids of other
trials; and leaves half a study when it fails. Here the rows themselves are copied: read in one
snapshot, written in one transaction, and read back and compared before that is committed.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy import Table, exc
from sqlalchemy.orm import Session

from search.errors import SearchError, StorageError
from search.names import check_study_name
from search.results.in_use import refuse_in_use
from search.storage.outages import one_line
from search.storage.overrides import SearchStorage
from search.storage.rows import models
from search.study import KEY_ATTR, ORIGIN_KEY_ATTR

Row = dict[str, Any]

_STUDIES: Table = models.StudyModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_OF_STUDY = [
    table
    for table in models.BaseModel.metadata.sorted_tables
    if "study_id" in table.c and table not in (_STUDIES, _TRIALS)
]
_OF_TRIAL = [
    table
    for table in models.BaseModel.metadata.sorted_tables
    if "trial_id" in table.c and table is not _TRIALS
]
# optuna-dashboard keeps notes on trials with the study, under the trial's id.
_NAMES_TRIAL = re.compile(r"(dashboard:(?:artifacts:)?)(\d+)(:.*)", re.DOTALL)
# Pictures in these notes have addresses with the ids of study and trial.
_ADDRESS = re.compile(r"/artifacts/(\d+)/(\d+)/")
# Their forms without a database, with the trial's position: no key of the dashboard's and no JSON
# text holds a raw NUL.
_KEY_PLACE = re.compile("(dashboard:(?:artifacts:)?)\0(\\d+)(:.*)", re.DOTALL)
_ADDRESS_PLACE = re.compile("/artifacts/\0/(\\d+)/")


@dataclass(frozen=True)
class StudyRows:
    """All rows of a study, without the ids that its database gave them.

    Attributes:
        of_study: Table -> rows. Where a key, or the address of a picture in a note, names a trial,
            a NUL and its position stand for its id.
        trials: In the order of their ids, in which a queue is served.
        of_trials: Table -> (position of the trial, row).
    """

    name: str
    of_study: dict[str, list[Row]]
    trials: list[Row]
    of_trials: dict[str, list[tuple[int, Row]]]


def read_study(source: SearchStorage, study_name: str, new_name: str | None = None) -> StudyRows:
    """All of a study as it stands at one moment, to be written elsewhere as a study of its own.

    It has a key of its own, under its own name, too: the two may go on in different ways, and what
    belongs to one is found by the key. It remembers the original's.

    Raises:
        SearchError: The study is not there, or workers are at it; or nothing can have the name.
    """
    check_study_name(study_name if new_name is None else new_name, "--as")
    rows = source.transaction(
        lambda session, _: _snapshot(session, study_name, source), reading=True
    )
    return _as_copy(rows, new_name or study_name)


def write_study(rows: StudyRows, target: SearchStorage) -> None:
    """Add the study to another storage, or to the same one under another name.

    Raises:
        SearchError: The target has a study of this name, or cannot hold this one. Nothing is
            written then.
    """

    def write(session: Session, again: bool) -> None:
        if session.query(models.StudyModel).filter_by(study_name=rows.name).first() is not None:
            raise SearchError(_exists(rows.name, target))
        if _read(session, _write(session, rows)) != rows:
            raise SearchError(
                f"{target.display_url} gives back other rows than were written: nothing is copied"
            )

    try:
        target.transaction(write, patient=False)
    except (StorageInternalError, exc.SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if isinstance(cause, exc.IntegrityError):  # another copy was faster
            raise SearchError(_exists(rows.name, target)) from None
        raise StorageError(
            f"study {rows.name!r} was not copied to {target.display_url}: {one_line(error)}"
        ) from None


def _exists(name: str, target: SearchStorage) -> str:
    return (
        f"study {name!r} exists in {target.display_url}: give the copy another name with --as NAME"
    )


def _snapshot(session: Session, study_name: str, storage: SearchStorage) -> StudyRows:
    if not storage.is_sqlite:  # SQLite's readers see one moment in any case
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    study = session.query(models.StudyModel).filter_by(study_name=study_name).one_or_none()
    if study is None:
        raise SearchError(f"there is no study {study_name!r} in {storage.display_url}")
    refuse_in_use(session, study.study_id, storage, advice="stop them, then copy it")
    return _read(session, study.study_id)


def _as_copy(rows: StudyRows, name: str) -> StudyRows:
    table = models.StudyUserAttributeModel.__tablename__
    own = [row for row in rows.of_study[table] if row["key"] != ORIGIN_KEY_ATTR]
    for row in [row for row in own if row["key"] == KEY_ATTR]:  # none, if another program made it
        own.append({**row, "key": ORIGIN_KEY_ATTR})
        own[own.index(row)] = {**row, "value_json": json.dumps(uuid.uuid4().hex)}
    return replace(rows, name=name, of_study={**rows.of_study, table: own})


def _read(session: Session, study_id: int) -> StudyRows:
    name = session.scalar(sqlalchemy.select(_STUDIES.c.study_name).filter_by(study_id=study_id))
    trials = _select(session, _TRIALS, _TRIALS.c.study_id == study_id)
    position = {row.pop("trial_id"): index for index, row in enumerate(trials)}
    of_study = {
        table.name: _select(session, table, table.c.study_id == study_id) for table in _OF_STUDY
    }
    ids = sqlalchemy.select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
    of_trials = {
        table.name: [
            (position[row.pop("trial_id")], row)
            for row in _select(session, table, table.c.trial_id.in_(ids))
        ]
        for table in _OF_TRIAL
    }
    for table in of_study:
        of_study[table] = [
            row
            for row in of_study[table]
            if "key" not in row or _forget_ids(row, study_id, position)
        ]
    return StudyRows(str(name), of_study, trials, of_trials)


def _select(session: Session, table: Table, condition: Any) -> list[Row]:
    """The rows by their ids, without them; without that of the study, too."""
    key = next(iter(table.primary_key))
    left_out = {"study_id"} if table is _TRIALS else {"study_id", key.name}
    found = session.execute(sqlalchemy.select(table).where(condition).order_by(key)).mappings()
    return [{k: v for k, v in row.items() if k not in left_out} for row in found]


def _write(session: Session, rows: StudyRows) -> int:
    new_study = sqlalchemy.insert(_STUDIES).returning(_STUDIES.c.study_id)
    study_id = int(session.scalar(new_study, {"study_name": rows.name}) or 0)
    ids: list[int] = []
    if rows.trials:
        new_trials = sqlalchemy.insert(_TRIALS).returning(
            _TRIALS.c.trial_id, sort_by_parameter_order=True
        )
        given = [{**row, "study_id": study_id} for row in rows.trials]
        ids = list(session.scalars(new_trials, given))
    for table in _OF_STUDY:
        of_study = [{**row, "study_id": study_id} for row in rows.of_study[table.name]]
        for row in of_study:
            if "key" in row:
                _give_ids(row, study_id, ids)
        if of_study:
            session.execute(sqlalchemy.insert(table), of_study)
    for table in _OF_TRIAL:
        of_trials = [{**row, "trial_id": ids[at]} for at, row in rows.of_trials[table.name]]
        if of_trials:
            session.execute(sqlalchemy.insert(table), of_trials)
    return study_id


def _forget_ids(row: Row, study_id: int, position: dict[int, int]) -> bool:
    """Put positions for the ids of trials in an attribute of the study.

    Returns:
        False if it is on a trial of another study, which nobody is shown with this one
        (``optuna.copy_study`` leaves such): elsewhere its id may be that of any trial.
    """
    named = _NAMES_TRIAL.fullmatch(row["key"])
    if named is None:
        return True
    if int(named[2]) not in position:
        return False

    def in_note(found: re.Match[str]) -> str:
        at = position.get(int(found[2])) if int(found[1]) == study_id else None
        return found[0] if at is None else f"/artifacts/\0/{at}/"

    row["value_json"] = _ADDRESS.sub(in_note, row["value_json"])
    row["key"] = f"{named[1]}\0{position[int(named[2])]}{named[3]}"
    return True


def _give_ids(row: Row, study_id: int, ids: list[int]) -> None:
    """The reverse of ``_forget_ids``, with the ids of another database."""
    row["value_json"] = _ADDRESS_PLACE.sub(
        lambda found: f"/artifacts/{study_id}/{ids[int(found[1])]}/", row["value_json"]
    )
    row["key"] = _KEY_PLACE.sub(
        lambda found: f"{found[1]}{ids[int(found[2])]}{found[3]}", row["key"]
    )
