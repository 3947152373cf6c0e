"""The private parts of Optuna's storage that are replaced or called, for Optuna 5.0.

=============================================  ==============================================
``RDBStorage``, all its methods                 survive a database outage; on SQLite, writers
                                                take the write lock when they begin; fenced, they
                                                look for the study first
``RDBStorage._create_new_trial``                an enqueued trial is not doubled when the
                                                acknowledgement of its creation is lost
``RDBStorage.set_trial_state_values``           the same for the end of a trial
``RDBStorage.set_trial_intermediate_value``     one statement; a report is a sign of life, too
``RDBStorage.get_trial``, ``_get_trials``       read rows, not objects: ``reading.py``
``RDBStorage._fill_storage_url_template``       formats the URL: fails on a password with braces
=============================================  ==============================================

``proxy_client.py`` replaces ``GrpcStorageProxy._setup`` besides, and ``proxy.py`` calls Optuna's
servicer. Those of samplers and pruners are in ``search/sampling.py``.
``tests/unit/search/test_overrides.py`` fails when the source of one of these changes.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from search.errors import Fenced
from search.storage.connecting import begin_pooled
from search.storage.identity import Identity, check_identity
from search.storage.operations import StudyStorage
from search.storage.outages import (
    DatabaseError,
    cause_of,
    is_outage,
    leave_read_only,
    one_line,
)
from search.storage.reading import TrialRows, build, fetch_trial, fetch_trials
from search.storage.rows import report

T = TypeVar("T")

# System attribute: which call created or took the trial, to recognise one's own lost answer.
CLAIM = "claim"


def _resilient(name: str, *, reading: bool = False) -> Any:
    upstream = getattr(RDBStorage, name)

    @functools.wraps(upstream)
    def call(self: SearchStorage, *args: Any, **kwargs: Any) -> Any:
        return self._retry_in(lambda _: upstream(self, *args, **kwargs), reading=reading)

    return _of_trial(call) if "trial_id" in inspect.signature(upstream).parameters else call


def _of_trial(method: Any) -> Any:
    """While its study is there, a worker's trial that is not was lost: by a server that took over
    from another before it had all rows."""

    @functools.wraps(method)
    def call(self: SearchStorage, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except KeyError:
            if self.fence_now is None:
                raise
            raise Fenced from None

    return call


class SearchStorage(StudyStorage, RDBStorage):
    """Optuna's storage on SQLite or PostgreSQL, made to survive outages. See ``open_storage``.

    Optuna's own heartbeat stays off: it fails stale trials without handing them on, races with
    our reaper, and its thread dies with the first lost connection.
    """

    def __init__(
        self,
        url: str,
        engine_kwargs: dict[str, Any],
        *,
        heartbeat_seconds: float,
        grace_seconds: float,
        outage_seconds: float,
        display_url: str,
        pooled: bool = False,
    ) -> None:
        """As ``open_database`` calls it; ``pooled``: PostgreSQL is behind a pooler."""
        self.heartbeat_seconds = heartbeat_seconds
        self.grace_seconds = grace_seconds
        self.outage_seconds = outage_seconds
        self.display_url = display_url
        self._local = threading.local()
        super().__init__(  # `make_tables` has looked at both
            url, engine_kwargs, skip_compatibility_check=True, skip_table_creation=True
        )
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._reporting = self.engine
        if pooled:  # before anything else within a transaction
            event.listen(self.engine, "begin", begin_pooled)
        event.listen(self.engine, "begin", self._begin)
        if not self.is_sqlite:  # a report is one statement there, a transaction by itself
            self._reporting = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            event.listen(self.engine, "handle_error", leave_read_only)
        reference = weakref.ref(self.engine)

        def forget_connections() -> None:
            if (engine := reference()) is not None:  # else parent and child mix their answers
                engine.dispose(close=False)

        os.register_at_fork(after_in_child=forget_connections)

    def close(self) -> None:
        self.remove_session()
        self.engine.dispose()

    @property
    def fence_now(self) -> Identity | None:
        """The study that this call is for: ``fence``, or that of a proxy's client."""
        return getattr(self._local, "fence", self.fence)

    def _begin(self, connection: Connection) -> None:
        if self.is_sqlite:
            # IMMEDIATE: two transactions that read, then write, cannot both be let in. Readers
            # see a snapshot (WAL) and need no lock.
            reading = getattr(self._local, "reading", False)
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
        elif connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return  # a report: the id of a trial is not given again there
        if (fence := self.fence_now) is not None:
            check_identity(connection, fence)

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        return template

    def transaction(
        self, work: Callable[[Session, bool], T], *, reading: bool = False, patient: bool = True
    ) -> T:
        """Run ``work(session, again)`` in one transaction.

        ``again`` tells that an earlier try may have been committed without our hearing of it.
        With ``patient`` an outage is waited for; without, its error is raised at once.

        Raises:
            StorageLost: The outage lasted for longer than ``outage_seconds``.
        """

        def once(again: bool) -> T:
            with _create_scoped_session(self.scoped_session) as session:
                return work(session, again)

        attempt = self._retry_in if patient else self._try
        return attempt(once, reading=reading)

    def perform(
        self, operation: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> T:
        return operation(self, *args, **kwargs)

    @contextmanager
    def called_by(
        self, token: str, *, again: bool, fence: Identity | None = None
    ) -> Iterator[None]:
        """While it lasts, what this thread calls is one try of a proxy's client's call ``token``.

        The client repeats a call whose answer it did not get under the same token. ``fence``: of
        the client's storage.
        """
        self._local.token, self._local.again, self._local.fence = token, again, fence
        try:
            yield
        finally:
            del self._local.token, self._local.again, self._local.fence

    def new_token(self) -> str:
        """What a trial is marked with, to be found again by the next try of the same call."""
        return getattr(self._local, "token", None) or uuid.uuid4().hex

    def _outage(self, error: Exception) -> str | None:
        return one_line(error) if is_outage(error) else None

    def _retry_in(self, call: Callable[[bool], T], *, reading: bool = False) -> T:
        def once(again: bool) -> T:
            again = again or getattr(self._local, "again", False)
            return self._try(call, again, reading=reading)

        return self._retry(once)

    def _try(self, call: Callable[[bool], T], again: bool = False, *, reading: bool) -> T:
        """Whatever the database's library raises is the storage's error, and never a trial's."""
        with _Reading(self._local, reading):
            try:
                return call(again)
            except (StorageInternalError, exc.SQLAlchemyError) as error:
                line = f"storage {self.display_url}: {one_line(error)}"
                raise DatabaseError(line) from cause_of(error)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        token, template = self.new_token(), copy.copy(template_trial)
        if template is not None:  # of another study, it brings the claim of its own creation
            template.system_attrs = {**template.system_attrs, CLAIM: token}

        def work(session: Session, again: bool) -> int:
            # The numbers of trials count the trials before them: one creation at a time.
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            if again and (trial_id := find_claimed(session, study_id, token)) is not None:
                return trial_id
            trial: Any = self._get_prepared_new_trial(study_id, template, session)
            if template is None:
                session.add(_claim_row(trial.trial_id, token))
            return trial.trial_id

        return self.get_trial(self.transaction(work))

    @_of_trial
    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        upstream = super().set_trial_state_values

        def call(again: bool) -> bool:
            try:
                return upstream(trial_id, state, values)
            except UpdateFinishedTrialError:
                # Nobody but its worker completes or prunes a trial: the earlier try was heard.
                told = again and state in (TrialState.COMPLETE, TrialState.PRUNED)
                if told and self.get_trial(trial_id).state == state:
                    return True
                raise

        return self._retry_in(call)

    @_of_trial
    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        upstream = super().set_trial_intermediate_value

        def call(again: bool) -> bool:
            # No session: with each evaluation of a trial, it took longer than the database.
            with self._reporting.begin() as connection:
                return report(connection, trial_id, step, intermediate_value)

        if not self._retry_in(call):  # Optuna's own says why
            self._retry_in(lambda _: upstream(trial_id, step, intermediate_value))

    @_of_trial
    def get_trial(self, trial_id: int) -> FrozenTrial:
        rows = self.transaction(lambda session, _: fetch_trial(session, trial_id), reading=True)
        return build(rows)[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        def work(session: Session, again: bool) -> TrialRows:
            study = models.StudyModel.study_id
            if session.query(study).filter(study == study_id).first() is None:
                raise KeyError(f"no study with id {study_id}")
            return fetch_trials(
                session,
                study_id,
                states=None if states is None else [s for s in TrialState if s in states],
                included=included_trial_ids,
                later_than=trial_id_greater_than,
            )

        return build(self.transaction(work, reading=True))

    create_new_study = _resilient("create_new_study")
    set_study_user_attr = _resilient("set_study_user_attr")
    set_study_system_attr = _resilient("set_study_system_attr")
    set_trial_param = _resilient("set_trial_param")
    _set_trial_param = _resilient("_set_trial_param")
    set_trial_user_attr = _resilient("set_trial_user_attr")
    set_trial_system_attr = _resilient("set_trial_system_attr")
    get_study_id_from_name = _resilient("get_study_id_from_name", reading=True)
    get_study_name_from_id = _resilient("get_study_name_from_id", reading=True)
    get_study_directions = _resilient("get_study_directions", reading=True)
    get_study_user_attrs = _resilient("get_study_user_attrs", reading=True)
    get_study_system_attrs = _resilient("get_study_system_attrs", reading=True)
    get_all_studies = _resilient("get_all_studies", reading=True)
    get_trial_user_attrs = _resilient("get_trial_user_attrs", reading=True)
    get_trial_system_attrs = _resilient("get_trial_system_attrs", reading=True)
    get_trial_param = _resilient("get_trial_param", reading=True)
    get_trial_id_from_study_id_trial_number = _resilient(
        "get_trial_id_from_study_id_trial_number", reading=True
    )
    _get_best_trial_id = _resilient("_get_best_trial_id", reading=True)


class _Reading:
    """Mark this thread's transactions as readers while it lasts."""

    def __init__(self, local: threading.local, reading: bool) -> None:
        self._local = local
        self._reading = reading

    def __enter__(self) -> None:
        self._before = getattr(self._local, "reading", False)
        self._local.reading = self._reading

    def __exit__(self, *_: object) -> None:
        self._local.reading = self._before


def find_claimed(session: Session, study_id: int, token: str) -> int | None:
    """Id of the trial that the call with this token created or took."""
    attribute = models.TrialSystemAttributeModel
    row = (
        session.query(attribute.trial_id)
        .join(models.TrialModel)
        .filter(models.TrialModel.study_id == study_id)
        .filter(attribute.key == CLAIM, attribute.value_json == f'"{token}"')
        .first()
    )
    return None if row is None else row[0]


def _claim_row(trial_id: int, token: str) -> Any:
    return models.TrialSystemAttributeModel(trial_id=trial_id, key=CLAIM, value_json=f'"{token}"')
