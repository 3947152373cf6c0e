"""Finding a stored study. Imports no PyTorch: looking at a study shall take a moment."""

from __future__ import annotations

from pathlib import Path

import optuna

from search.errors import SearchError, StudyDeleted
from search.folders import OutputFolder, sqlite_path
from search.redaction import redact
from search.storage.identity import identity_of
from search.storage.opening import is_proxy, open_database, open_storage
from search.storage.operations import StudyStorage
from search.storage.overrides import SearchStorage


def find_storage(storage_url: str | None, *, out: Path) -> SearchStorage:
    """The storage at ``storage_url``, by default that of the output folder, if it is there.

    Raises:
        SearchError: There is none: a file is not created to be read. Or it is a proxy.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage_url or OutputFolder(out).storage_url
    if is_proxy(url):
        raise SearchError(
            f"storage {redact(url)} is a proxy, which serves workers and the commands that steer "
            "them: give the URL of the database behind it"
        )
    file = sqlite_path(url)
    if file is not None and not file.exists():
        raise SearchError(
            f"there are no studies in {out if storage_url is None else file}: start one with "
            "`python studies.py`, or say where yours are with --out FOLDER or --storage URL"
        )
    return open_database(url)


def reach_storage(storage_url: str | None, *, out: Path) -> StudyStorage:
    """As ``find_storage``, but a proxy will do.

    Raises:
        SearchError: There is none.
    """
    if storage_url is None or not is_proxy(storage_url):
        return find_storage(storage_url, out=out)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return open_storage(storage_url)


def find_study(storage: StudyStorage, study_name: str | None) -> optuna.Study:
    """The study of this name; without a name, the only one in the storage.

    From then on the storage is fenced: should the study be deleted, all calls say so.

    Raises:
        SearchError: There is no such study, or several to choose from.
    """
    names = sorted(optuna.get_all_study_names(storage))
    if study_name is None and len(names) == 1:
        study_name = names[0]
    if study_name is None or study_name not in names:
        wanted = "give --study NAME" if study_name is None else f"there is no study {study_name!r}"
        there = ", ".join(names) or "none"
        raise SearchError(f"{wanted}; studies in {storage.display_url}: {there}")
    try:
        study = optuna.load_study(study_name=study_name, storage=storage)
    except KeyError:
        raise StudyDeleted from None
    storage.fence = identity_of(storage, study._study_id)
    return study
