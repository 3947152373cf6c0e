"""A study removed from its storage, all of it in one transaction, and its checkpoints after it."""

from __future__ import annotations

from pathlib import Path

import optuna
import sqlalchemy
from sqlalchemy.orm import Session

from search.checkpoints import CheckpointStore
from search.errors import SearchError
from search.folders import OutputFolder
from search.results.in_use import refuse_in_use
from search.storage.overrides import SearchStorage
from search.storage.rows import lock_study, models

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
    """Remove the study with its trials, and its checkpoints from the output folder ``out``.

    Optuna's own ``delete_study`` fetches every row before it deletes it: minutes for a study of
    some thousand trials.

    Args:
        force: Although workers are at it, who then end with an error.

    Raises:
        SearchError: Workers are at it, or the checkpoints cannot be removed.
    """
    study_id = study._study_id
    checkpoints = CheckpointStore(OutputFolder(out).checkpoints, study.study_name)

    def work(session: Session, again: bool) -> None:
        if session.get(models.StudyModel, study_id) is None:
            return  # done: by another, or by a try whose answer was lost
        lock_study(session, study_id)
        if not force:
            refuse_in_use(session, study_id, storage, advice=_ADVICE)
        trials = models.TrialModel.__table__
        ids = sqlalchemy.select(trials.c.trial_id).where(trials.c.study_id == study_id)
        # Sorted by who refers to whom: children go first.
        for table in reversed(models.BaseModel.metadata.sorted_tables):
            if "study_id" in table.c:
                session.execute(sqlalchemy.delete(table).where(table.c.study_id == study_id))
            elif "trial_id" in table.c:
                session.execute(sqlalchemy.delete(table).where(table.c.trial_id.in_(ids)))

    storage.transaction(work)
    try:
        checkpoints.clear()
    except OSError as error:
        raise SearchError(
            f"the study is deleted, but not its checkpoints: {error.strerror}: {error.filename}"
        ) from None
