"""A study under another name: the same study, with its ids and its key."""

from __future__ import annotations

from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.names import check_study_name
from search.results.in_use import refuse_in_use
from search.storage.overrides import SearchStorage
from search.storage.rows import lock_study, models


def rename_study(storage: SearchStorage, study_id: int, new_name: str) -> None:
    """Give a study another name, in one transaction.

    Raises:
        KeyError: There is no such study.
        SearchError: Workers are at it, or the name is taken or none for a study.
    """
    check_study_name(new_name)

    def work(session: Session, again: bool) -> None:
        study: Any = session.get(models.StudyModel, study_id)
        if study is None:
            raise KeyError(f"no study with id {study_id}")
        lock_study(session, study_id)
        if study.study_name == new_name:
            return
        refuse_in_use(session, study_id, storage, advice="stop them, then rename it")
        if session.query(models.StudyModel).filter_by(study_name=new_name).first() is not None:
            raise SearchError(_taken(new_name))
        study.study_name = new_name

    try:
        storage.transaction(work)
    except (StorageInternalError, exc.SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if isinstance(cause, exc.IntegrityError):  # another one was faster
            raise SearchError(_taken(new_name)) from None
        raise


def _taken(name: str) -> str:
    return f"a study {name!r} exists: give another name"
