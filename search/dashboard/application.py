"""optuna-dashboard's application, and what is answered before it is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.dashboard.hosts import answers_to, names_of
from search.errors import SearchError, StorageError
from search.results.renaming import rename_study
from search.storage.operations import StudyStorage
from search.storage.outages import one_line
from search.storage.overrides import SearchStorage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from search.dashboard.caches import StudyCaches

_OF_STUDY = re.compile(r"/api/studies/(\d+)(/.*)?")
_MOST_BYTES = 65_536


def make_app(
    storage: StudyStorage, artifacts: Path, *, host: str = "127.0.0.1"
) -> WSGIApplication:
    """The dashboard as a WSGI application.

    Args:
        artifacts: Where workers put the pictures of the best trials; need not be there yet.
        host: What the server listens on; it answers to no other name.
    """
    from optuna_dashboard import wsgi  # type: ignore[import-untyped]

    from search.dashboard.caches import StudyCaches

    pages = wsgi(storage, artifact_store=FileSystemArtifactStore(artifacts))
    caches = StudyCaches(storage, pages._inmemory_cache)
    return _Application(storage, pages, caches, names=names_of(host))


class _Application:
    def __init__(
        self,
        storage: StudyStorage,
        pages: WSGIApplication,
        caches: StudyCaches,
        *,
        names: frozenset[str],
    ) -> None:
        self._storage = storage
        self._pages = pages
        self._caches = caches
        self._names = names

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        # Browsers send it with every request.
        name = environ.get("HTTP_HOST")
        if name is not None and not answers_to(name, self._names):
            reason = (
                f"the dashboard does not answer to the name {name!r}: open it by its address, or "
                "start it with that name as --host"
            )
            return _answer(start, HTTPStatus.FORBIDDEN, {"reason": reason})
        found = _OF_STUDY.fullmatch(environ.get("PATH_INFO", "").rstrip("/"))
        if found is None:
            return self._pages(environ, start)
        try:
            if (environ["REQUEST_METHOD"], found[2]) == ("POST", "/rename"):
                return self._rename(int(found[1]), environ, start)
            self._caches.check(int(found[1]))
        except StorageError as error:  # an outage: a page that got an error asks again
            return _answer(start, HTTPStatus.SERVICE_UNAVAILABLE, {"reason": str(error)})
        except (StorageInternalError, SQLAlchemyError) as error:
            return _answer(start, HTTPStatus.INTERNAL_SERVER_ERROR, {"reason": one_line(error)})
        return self._pages(environ, start)

    def _rename(
        self, study_id: int, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        """Upstream copies the trials to a new study, and leaves out what it does not know of."""
        from optuna_dashboard._serializer import (  # type: ignore[import-untyped]
            serialize_frozen_study,
        )
        from optuna_dashboard._storage import get_study  # type: ignore[import-untyped]

        name = _asked_name(environ)
        if name is None:
            return _answer(start, HTTPStatus.BAD_REQUEST, {"reason": "give the study a name"})
        if not isinstance(self._storage, SearchStorage):
            reason = (
                "a proxy renames no study: use studies.py copy --as NAME, then delete, with the "
                "database itself as --storage"
            )
            return _answer(start, HTTPStatus.NOT_IMPLEMENTED, {"reason": reason})
        try:
            rename_study(self._storage, study_id, name)
        except KeyError:
            reason = f"there is no study with id {study_id}"
            return _answer(start, HTTPStatus.NOT_FOUND, {"reason": reason})
        except StorageError:
            raise
        except SearchError as error:
            return _answer(start, HTTPStatus.CONFLICT, {"reason": str(error)})
        study = serialize_frozen_study(get_study(self._storage, study_id))
        return _answer(start, HTTPStatus.CREATED, study)


def _asked_name(environ: WSGIEnvironment) -> str | None:
    """The new name in a request's body; None if it has none."""
    # A page from elsewhere may send any other type without asking the server first.
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
        return None
    try:
        length = min(int(environ.get("CONTENT_LENGTH") or 0), _MOST_BYTES)
        name = json.loads(environ["wsgi.input"].read(length))["study_name"]
    except (ValueError, TypeError, KeyError):
        return None
    # Folders are called after studies.
    return name if isinstance(name, str) and name.strip() not in ("", ".", "..") else None


def _answer(start: StartResponse, status: HTTPStatus, content: dict[str, Any]) -> list[bytes]:
    headers = [("Content-Type", "application/json")]
    start(f"{status.value} {status.phrase}", headers)
    return [json.dumps(content).encode()]
