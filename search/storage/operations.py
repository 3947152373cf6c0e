"""What a worker may ask of its storage: Optuna's calls, and the study's own operations."""

from __future__ import annotations

import functools
import logging
import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from optuna.storages import BaseStorage

from search.errors import StorageLost

if TYPE_CHECKING:
    from search.storage.identity import Identity
    from search.storage.overrides import SearchStorage

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

# How long a call goes on when the worker has been told to stop: long enough for a short cut,
# short enough to end within a container's grace period.
STOPPING_SECONDS = 4.0
# By name: what a proxy's client may ask its server to do.
OPERATIONS: dict[str, Callable[..., Any]] = {}


class StudyStorage(BaseStorage):
    """A storage that outlives outages: a database (``SearchStorage``) or a proxy in front of one.

    Attributes:
        display_url: Its URL without the password.
        fence: The study that it serves; every call fails with ``StudyDeleted`` once that is gone.
            None: all studies, whichever they are.
    """

    display_url: str
    heartbeat_seconds: float
    grace_seconds: float
    outage_seconds: float
    fence: Identity | None = None
    _stop_requested: Callable[[], bool] = staticmethod(lambda: False)

    @abstractmethod
    def perform(
        self, operation: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> T:
        """Run a function of ``OPERATIONS`` where the database is."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections. The next call opens new ones."""

    @abstractmethod
    def _outage(self, error: Exception) -> str | None:
        """The reason in one line if waiting may help, else None."""

    @contextmanager
    def hurried_by(self, stop_requested: Callable[[], bool]) -> Iterator[None]:
        """While it lasts, outages are not waited out once ``stop_requested`` is true."""
        before, self._stop_requested = self._stop_requested, stop_requested
        try:
            yield
        finally:
            self._stop_requested = before

    def __reduce__(self) -> Any:
        raise TypeError("a storage does not travel between processes: open its URL there")

    def _retry(self, call: Callable[[bool], T]) -> T:
        """``call(again)`` until it is no outage that ends it.

        Raises:
            StorageLost: The outage lasted for longer than ``outage_seconds``.
        """
        began: float | None = None
        pause = 0.05
        while True:
            try:
                result = call(began is not None)
                if began is not None and time.monotonic() - began > 1.0:
                    logger.warning("the storage answers again")
                return result
            except Exception as error:
                reason = self._outage(error)
                if reason is None:
                    raise
            if began is None:
                began = time.monotonic()
            elif pause > 0.2 and pause < 0.5:
                logger.warning("lost the storage, trying again: %s", reason)
            self._wait(began, pause * random.uniform(0.75, 1.25), reason)
            pause = min(2 * pause, 2.0)

    def _wait(self, began: float, pause: float, reason: str) -> None:
        until = time.monotonic() + pause
        while True:
            now = time.monotonic()
            limit = self.outage_seconds
            if self._stop_requested():
                limit = min(limit, STOPPING_SECONDS)
            if now - began > limit:
                raise StorageLost(
                    f"storage {self.display_url} out of reach for {now - began:.0f} s ({reason}): "
                    "start it again, then run the same command",
                    reason=reason,
                ) from None
            if now >= until:
                return
            # In slices: a signal does not end a sleep.
            time.sleep(min(0.1, until - now))


def operation(
    function: Callable[Concatenate[SearchStorage, P], T],
) -> Callable[Concatenate[StudyStorage, P], T]:
    """Have ``function`` run where the database is, whatever storage it is called with.

    What it takes and returns travels as ``search.storage.proxy_codec`` writes it. With
    ``patient=False`` among its arguments, an outage is not waited for.
    """
    assert function.__name__ not in OPERATIONS, f"two operations named {function.__name__}"
    OPERATIONS[function.__name__] = function

    def call(storage: StudyStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return storage.perform(function, args, kwargs)

    functools.update_wrapper(call, function)
    return call
