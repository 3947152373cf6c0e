"""What studies a storage holds: one look at each table, however many trials there are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.settings import StudySettings, stored_settings
from search.storage.budget import N_TRIALS, as_budget
from search.storage.overrides import SearchStorage
from search.storage.rows import models, within_limits
from search.study import SETTINGS_ATTR

OURS, OTHER_VERSION, OTHER_PROGRAM = "this program", "another version", "another program"


@dataclass(frozen=True)
class ListedStudy:
    """A study in short.

    Attributes:
        made_by: ``OURS``, ``OTHER_VERSION`` or ``OTHER_PROGRAM``.
        settings: As stored; empty if another program made the study.
        trials: State -> how many.
        n_trials: The budget; None without one.
        best_value: Of the COMPLETE trials within the limits; None if there is none. With several
            objectives the best balanced accuracy, or None in a study of another program.
        last_activity: A trial's start or end, or a sign of life; None if there was none yet.
    """

    name: str
    made_by: str
    settings: dict[str, Any]
    trials: dict[str, int]
    n_trials: int | None
    best_value: float | None
    last_activity: datetime | None

    def as_json(self) -> dict[str, Any]:
        when = self.last_activity
        return {
            "name": self.name,
            "made_by": self.made_by,
            "model": self.settings.get("model"),
            "data": self.settings.get("data_name"),
            "data_fingerprint": self.settings.get("data_fingerprint"),
            "trials": self.trials,
            "n_trials": self.n_trials,
            "best_value": self.best_value,
            "last_activity": None if when is None else when.isoformat(),
        }


def list_studies(storage: SearchStorage) -> list[ListedStudy]:
    """All studies, those with the latest activity first."""
    found = storage.transaction(lambda session, _: _read(session), reading=True)
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda study: (study.last_activity or never, study.name))[::-1]


def read_settings(text: object) -> tuple[dict[str, Any], str]:
    """The settings of a study by what is stored under their name, and who made the study.

    Those of another version are read as far as they go: enough to say what the study was.
    """
    stored = stored_settings(text)
    if stored is None:
        return {}, OTHER_PROGRAM
    try:
        StudySettings.from_json(text)
        return stored, OURS
    except SearchError:
        return stored, OTHER_VERSION


def _read(session: Session) -> list[ListedStudy]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    trial = models.TrialModel
    grouped = session.query(trial.study_id, trial.state, sqlalchemy.func.count())
    for study_id, state, count in grouped.group_by(trial.study_id, trial.state):
        counts[study_id][state.name] = count
    settings, budgets = _attribute(session, SETTINGS_ATTR), _attribute(session, N_TRIALS)
    ours = {study_id for study_id, text in settings.items() if read_settings(text)[1] == OURS}
    best, last = _best_values(session, ours), _last_activities(session)
    studies = []
    for study_id, name in session.query(models.StudyModel.study_id, models.StudyModel.study_name):
        read, made_by = read_settings(settings.get(study_id))
        listed = ListedStudy(
            name=name,
            made_by=made_by,
            settings=read,
            trials=counts[study_id],
            n_trials=as_budget(budgets.get(study_id)),
            best_value=best.get(study_id),
            last_activity=last.get(study_id),
        )
        studies.append(listed)
    return studies


def _attribute(session: Session, key: str) -> dict[int, Any]:
    attribute = models.StudyUserAttributeModel
    rows = session.query(attribute.study_id, attribute.value_json).filter(attribute.key == key)
    return {study_id: json.loads(text) for study_id, text in rows}


def _best_values(session: Session, ours: Container[int]) -> dict[int, float]:
    directions: dict[int, list[StudyDirection]] = defaultdict(list)
    direction = models.StudyDirectionModel
    for study_id, way in session.query(direction.study_id, direction.direction):
        directions[study_id].append(way)
    value, trial = models.TrialValueModel, models.TrialModel
    rows = (
        session.query(
            trial.study_id, sqlalchemy.func.min(value.value), sqlalchemy.func.max(value.value)
        )
        .join(trial, trial.trial_id == value.trial_id)
        .filter(trial.state == TrialState.COMPLETE, value.objective == 0, within_limits())
        .group_by(trial.study_id)
    )
    return {
        study_id: low if directions[study_id] == [StudyDirection.MINIMIZE] else high
        for study_id, low, high in rows
        if len(directions[study_id]) == 1 or study_id in ours
    }


def _last_activities(session: Session) -> dict[int, datetime]:
    trial, beat = models.TrialModel, models.TrialHeartbeatModel
    latest = sqlalchemy.func.max
    rows = (
        session.query(
            trial.study_id,
            # The columns themselves, naive UTC: Optuna's properties turn them into local times.
            latest(trial._datetime_start_utc),
            latest(trial._datetime_complete_utc),
            latest(beat.heartbeat),
        )
        .outerjoin(beat, beat.trial_id == trial.trial_id)
        .group_by(trial.study_id)
    )
    found = {}
    for study_id, *times in rows:
        if known := [time for time in times if time is not None]:
            found[study_id] = max(known).replace(tzinfo=UTC)
    return found
