"""Which study is meant: names are given again, on SQLite ids too, but a study's key never.

A storage that is fenced (``StudyStorage.fence``) is one study's: before anything else each of its
transactions looks whether that study is still there.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from search.errors import StudyDeleted
from search.storage.operations import StudyStorage, operation
from search.storage.rows import lock_study, set_study_attributes

if TYPE_CHECKING:
    from search.storage.overrides import SearchStorage

# User attribute of a study. Random: what tells it from a later one of its name.
KEY_ATTR = "key"
_FIND = (
    "SELECT value_json FROM studies LEFT JOIN study_user_attributes AS attribute"
    f" ON attribute.study_id = studies.study_id AND attribute.key = '{KEY_ATTR}'"
    " WHERE studies.study_id = {}"
)


@dataclass(frozen=True)
class Identity:
    """A study, and no other in its place.

    Attributes:
        key: None if it has none: another program's, or one that is being created.
    """

    study_id: int
    key: str | None


def check_identity(connection: Connection, identity: Identity) -> None:
    """Do nothing if the study is there.

    Raises:
        StudyDeleted: It is not, though another may have its id.
    """
    if _find(connection, identity.study_id) != identity:
        raise StudyDeleted


def _find(connection: Connection, study_id: int) -> Identity | None:
    # As text: this is the first statement of each transaction, and of each report on SQLite.
    row = connection.exec_driver_sql(_FIND.format(int(study_id))).first()
    return None if row is None else Identity(study_id, json.loads(row[0] or "null"))


@operation
def identity_of(storage: SearchStorage, study_id: int) -> Identity:
    """The study that has this id now.

    Raises:
        StudyDeleted: There is none.
    """

    def work(session: Session, again: bool) -> Identity:
        found = _find(session.connection(), study_id)
        if found is None:
            raise StudyDeleted
        return found

    return storage.transaction(work, reading=True)


@operation
def give_key(storage: SearchStorage, study_id: int) -> Identity:
    """The study that has this id now, with a key from now on if it had none.

    Raises:
        StudyDeleted: There is none.
    """

    def work(session: Session, again: bool) -> Identity:
        lock_study(session, study_id)
        return ensure_key(session, study_id)

    return storage.transaction(work)


def ensure_key(session: Session, study_id: int) -> Identity:
    """As ``give_key``; the study's lock is held."""
    found = _find(session.connection(), study_id)
    if found is not None and found.key is not None:
        return found
    key = uuid.uuid4().hex
    set_study_attributes(session, study_id, {KEY_ATTR: key})
    return Identity(study_id, key)


@contextmanager
def fenced(storage: StudyStorage, study_id: int) -> Iterator[None]:
    """While it lasts, the storage serves the study of this id as it is now, and no later one.

    A storage that is this study's already stays as it is.
    """
    before = storage.fence
    if before is None or before.study_id != study_id:
        storage.fence = identity_of(storage, study_id)
    try:
        yield
    finally:
        storage.fence = before
