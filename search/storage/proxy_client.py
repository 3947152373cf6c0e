"""A study's storage behind a gRPC proxy: what a worker uses that joins by ``grpc://host:port``.

Optuna's own calls go through ``GrpcStorageProxy`` (Optuna 5.0), which gives up at the first lost
connection: ``_setup`` is replaced, so that its channel repeats them. What this service adds, each
a transaction of its own, goes through one more method, ``perform``. The proxy tells both apart
from repeats of calls that it has heard: nothing is done twice.
"""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc import client as upstream
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.trial import FrozenTrial, TrialState

from search import __version__
from search.errors import Fenced, SearchError, StorageError, StudyDeleted
from search.storage.identity import Identity, identity_of
from search.storage.operations import StudyStorage
from search.storage.outages import DatabaseError
from search.storage.proxy_codec import decode, encode

T = TypeVar("T")

DEFAULT_PORT = 13000
METHOD = "/title_search.Storage/Perform"
# Metadata: which call a try belongs to, whether it is not its first, and the client's fence.
TOKEN, AGAIN, FENCE = "call", "again", "fence"
# By name: what an operation may raise at the proxy for its client to hear.
ERRORS: dict[str, Callable[[str], Exception]] = {
    "Fenced": Fenced,
    "SearchError": SearchError,
    "StudyDeleted": StudyDeleted,
    "UpdateFinishedTrialError": UpdateFinishedTrialError,
    "KeyError": KeyError,
    "ValueError": ValueError,
}
_CALL_SECONDS = 90.0  # more than the database gives a statement
_IMPATIENT_SECONDS = 10.0
_CONNECT_SECONDS = 10.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # A host that vanished is noticed within 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # http_proxy is for the web, not for a storage next door.
    ("grpc.enable_http_proxy", 0),
]
_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # by a proxy that stops
)
# Those that Optuna's client turns into exceptions of its own.
_MEANT = (
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
)


class ProxyStorage(StudyStorage, GrpcStorageProxy):
    """The storage that a proxy serves; its calls wait for the proxy as for a database."""

    def __init__(
        self,
        url: str,
        *,
        heartbeat_seconds: float,
        grace_seconds: float,
        outage_seconds: float,
    ) -> None:
        """Connect, and see that a proxy of this version answers.

        Raises:
            StorageError: No such proxy, or no URL of one.
        """
        host, port = address_of(url)
        self.display_url = f"grpc://{host}:{port}"
        self.heartbeat_seconds = heartbeat_seconds
        self.grace_seconds = grace_seconds
        self.outage_seconds = outage_seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            GrpcStorageProxy.__init__(self, host=host, port=port)
        self._greet()

    def _setup(self) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._channel = grpc.insecure_channel(f"{host}:{self._port}", options=_OPTIONS)
        # Not repeated by itself: heartbeats come again anyway.
        self._once = self._channel.unary_unary(METHOD)
        lasting = grpc.intercept_channel(self._channel, _Repeating(self))
        self._lasting = lasting.unary_unary(METHOD)
        self._stub = api_pb2_grpc.StorageServiceStub(lasting)
        self._cache = upstream.GrpcClientCache(self._stub)
        # Of the studies whose trials are in this cache, which knows them by their ids.
        self._identities: dict[int, Identity] = {}

    def close(self) -> None:
        self._channel.close()

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if self.fence is not None:  # what is remembered is that study's, or nobody's
            return super().get_all_trials(study_id, deepcopy, states)
        while True:
            identity = self._identity(study_id)
            if self._identities.get(study_id) != identity:
                self._cache.delete_study_cache(study_id)
            self._identities[study_id] = identity
            trials = super().get_all_trials(study_id, deepcopy, states)
            if self._identity(study_id) == identity:  # at the end, so all the time
                return trials

    def _identity(self, study_id: int) -> Identity:
        try:
            return identity_of(self, study_id)
        except StudyDeleted as error:  # as Optuna's callers know it
            raise KeyError(str(error)) from None

    def perform(
        self, operation: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> T:
        request = encode((operation.__name__, tuple(args), dict(kwargs)))
        if kwargs.get("patient", True):
            answer = self._lasting(request)
        else:
            metadata = _metadata(uuid.uuid4().hex, again=False, fence=self.fence)
            try:
                answer = self._once(request, timeout=_IMPATIENT_SECONDS, metadata=metadata)
            except grpc.RpcError as error:
                raise DatabaseError(f"storage {self.display_url}: {_reason(error)}") from None
        kind, content = decode(answer)
        if kind != "result":
            raise ERRORS[kind](content)
        return content

    def _outage(self, error: Exception) -> str | None:
        return _reason(error) if is_away(error) else None

    def _greet(self) -> None:
        metadata = _metadata(uuid.uuid4().hex, again=False)
        try:
            answer = self._once(
                encode(("version", (), {})), timeout=_CONNECT_SECONDS, metadata=metadata
            )
            version = decode(answer)[1]
        except grpc.RpcError as error:
            self.close()
            raise StorageError(
                f"storage {self.display_url}: no proxy answers there ({_reason(error)}): check "
                "the address, or start it with `python studies.py proxy`"
            ) from None
        if version != __version__:
            self.close()
            raise StorageError(
                f"storage {self.display_url}: the proxy is of version {version}, this is "
                f"{__version__}: use the same version everywhere"
            )


class _Repeating(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Repeats a call that an outage ended, under the same token."""

    def __init__(self, storage: ProxyStorage) -> None:
        self._storage = storage

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        token = uuid.uuid4().hex

        def once(again: bool) -> Any:
            metadata = _metadata(token, again=again, fence=self._storage.fence)
            outcome = continuation(
                details._replace(timeout=_CALL_SECONDS, metadata=metadata), request
            )
            code = outcome.code()
            if code is grpc.StatusCode.OK or code in _MEANT:
                return outcome
            if code is grpc.StatusCode.ABORTED and outcome.details() in ERRORS:
                raise ERRORS[outcome.details()]("")
            if is_away(outcome):
                raise outcome
            where = self._storage.display_url
            raise DatabaseError(f"storage {where}: the proxy failed: {_reason(outcome)}")

        return self._storage._retry(once)


def address_of(url: str) -> tuple[str, int]:
    """Host and port of ``grpc://host:port``; the port may be left out.

    Raises:
        StorageError: It is no such URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.path.strip("/") or parts.username:
        raise StorageError(f"storage {url.split('@')[-1]!r} is no address: give grpc://HOST:PORT")
    return parts.hostname, port


def is_away(error: Any) -> bool:
    """Whether the proxy, or the database behind it, may come back."""
    return isinstance(error, grpc.RpcError) and error.code() in _AWAY


def _metadata(token: str, *, again: bool, fence: Identity | None = None) -> list[tuple[str, str]]:
    found = [(TOKEN, token), (AGAIN, "yes" if again else "no")]
    return found if fence is None else [*found, (FENCE, encode(fence).decode())]


def _reason(error: Any) -> str:
    lines = (error.details() or error.code().name).splitlines()
    # gRPC names every address that it tried; the operating system's words come last.
    last = lines[0].rpartition("last error: ")[2]
    return re.sub(r"^(\w+: )?ipv[46]:\S+: ", "", last)[:200]
