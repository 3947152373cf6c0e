"""A study removed from its storage, all of it in one transaction, and its files after it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import optuna
import sqlalchemy
from sqlalchemy.orm import Session

from search.checkpoints import remove_checkpoints
from search.dashboard.attributes import artifact_ids
from search.errors import SearchError, StudyDeleted
from search.folders import OutputFolder
from search.results.in_use import refuse_in_use
from search.storage.overrides import SearchStorage
from search.storage.rows import lock_study, models
from search.study import KEY_ATTR

_ADVICE = "stop them first, or delete it under their hands with --force"


def refuse_deletion(storage: SearchStorage, study: optuna.Study) -> None:
    """Do nothing if the study may be deleted.

    Raises:
        SearchError: Workers are at it.
    """
    storage.transaction(
        lambda session, _: refuse_in_use(session, study._study_id, storage, advice=_ADVICE),
        reading=True,
    )


def delete_study(
    storage: SearchStorage, study: optuna.Study, *, out: Path, force: bool = False
) -> None:
    """Remove the study with its trials, and its files from the output folder ``out``.

    The files are its checkpoints, and those on its trials' pages in the dashboard that no other
    study of the storage shows, too.

    Optuna's own ``delete_study`` fetches every row before it deletes it: minutes for a study of
    some thousand trials.

    Args:
        force: Although workers are at it, who then end with an error.

    Raises:
        SearchError: Workers are at it, or its files cannot be removed.
    """
    study_id = study._study_id
    folder = OutputFolder(out)
    key = study.user_attrs.get(KEY_ATTR)
    shown: set[str] = set()

    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        if not force:
            refuse_in_use(session, study_id, storage, advice=_ADVICE)
        shown.update(_artifacts(session, study_id))
        _delete_rows(session, study_id)
        shown.difference_update(_artifacts(session))

    with suppress(StudyDeleted):  # by another, or by a try whose answer was lost
        storage.transaction(work)
    try:
        if key is not None:
            remove_checkpoints(folder.checkpoints, key)
        for name in shown:
            (folder.dashboard_artifacts / name).unlink(missing_ok=True)
    except OSError as error:
        raise SearchError(
            f"the study is deleted, but not its files: {error.strerror}: {error.filename}"
        ) from None


def _delete_rows(session: Session, study_id: int) -> None:
    trials = models.TrialModel.__table__
    ids = sqlalchemy.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    # A worker's report refers to its trial: it waits for this lock, and then finds no trial.
    session.execute(ids.with_for_update())
    # Sorted by who refers to whom: children go first.
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            session.execute(sqlalchemy.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            session.execute(sqlalchemy.delete(table).where(table.c.trial_id.in_(ids)))


def _artifacts(session: Session, study_id: int | None = None) -> set[str]:
    """Names of the files that the dashboard shows of one study, or of all that are there."""
    of_study, of_trial = models.StudySystemAttributeModel, models.TrialSystemAttributeModel
    keys = [
        session.query(table.key).filter(table.key.like("%artifacts:%"))
        for table in (of_study, of_trial)
    ]
    if study_id is not None:
        trials = sqlalchemy.select(models.TrialModel.trial_id).filter_by(study_id=study_id)
        keys[0] = keys[0].filter(of_study.study_id == study_id)
        keys[1] = keys[1].filter(of_trial.trial_id.in_(trials))
    return artifact_ids(key for query in keys for (key,) in query)
