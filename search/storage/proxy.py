"""A gRPC server in front of a database, through which large fleets share a few connections.

It serves what ``GrpcStorageProxy`` of Optuna 5.0 asks for (Optuna's own servicer) and, by one more
method, this service's operations, each of them one transaction at the proxy. It keeps nothing that
is not in the database: it may be killed and started again at any time.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.storages._grpc.servicer import OptunaStorageProxyService
from optuna.trial import FrozenTrial

import search.storage
from search import __version__
from search.errors import Fenced, SearchError, StorageError, StorageLost, StudyDeleted
from search.storage.identity import Identity, identity_of
from search.storage.opening import open_database
from search.storage.operations import OPERATIONS
from search.storage.outages import DatabaseError
from search.storage.overrides import SearchStorage
from search.storage.proxy_client import AGAIN, ERRORS, FENCE, METHOD, TOKEN
from search.storage.proxy_codec import decode, encode

logger = logging.getLogger(__name__)

_THREADS = 16
# The clients wait for the database; the proxy makes good no more than a cut connection.
_OUTAGE_SECONDS = 0.5
_GRACE_SECONDS = 3.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # Or a second proxy would take half of the calls to this port.
    ("grpc.so_reuseport", 0),
    # Clients ask every 20 s whether the proxy lives.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]


def serve(url: str, *, host: str, port: int, ready: Callable[[str, str], None]) -> None:
    """Serve the database at ``url`` until SIGTERM or Ctrl-C.

    Args:
        ready: Told the proxy's address and the database's, without password, once it serves.

    Raises:
        StorageError: The database cannot be used, or the address is taken.
    """
    _import_operations()
    storage = open_database(url, outage_seconds=_OUTAGE_SECONDS, connections=_THREADS)
    server = make_server(storage)
    name = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{name}:{port}")
    except RuntimeError:
        raise StorageError(
            f"cannot listen on {host}:{port}: it is taken, or no address of this machine; "
            "give another --port or --host"
        ) from None
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server.start()
    ready(f"grpc://{name}:{bound}", storage.display_url)
    while not stopping.wait(0.5):  # in slices: a signal does not end a wait
        pass
    server.stop(_GRACE_SECONDS).wait()
    storage.close()


def _import_operations() -> None:
    # All of the package: a module says itself, by `operation`, what may be asked of it.
    for module in pkgutil.iter_modules(search.storage.__path__):
        importlib.import_module(f"search.storage.{module.name}")


def make_server(storage: SearchStorage) -> grpc.Server:
    """A server of the storage, on no address yet."""
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="proxy"),
        interceptors=[_Calls(storage)],
        options=_OPTIONS,
    )
    remembering: Any = _Remembering(storage)
    service = OptunaStorageProxyService(remembering)
    api_pb2_grpc.add_StorageServiceServicer_to_server(service, server)
    _, package, method = METHOD.split("/")
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: _perform(storage, request))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(package, {method: handler}),)
    )
    return server


class _Remembering:
    """The storage, and the trials of its studies that have ended: each client's first look need
    not read them again."""

    def __init__(self, storage: SearchStorage) -> None:
        self._storage = storage
        # Optuna's, which knows a study by its id. SQLite gives that again, to a study that is
        # another one by its key.
        self._caches: dict[Identity, _CachedStorage] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(self, study_id: int, deepcopy: bool = True) -> list[FrozenTrial]:
        while True:
            identity = self._identity(study_id)
            if identity.key is None:
                return self._storage.get_all_trials(study_id, deepcopy=deepcopy)
            for other in [i for i in self._caches if i.study_id == study_id and i != identity]:
                self._caches.pop(other, None)
            cache = self._caches.setdefault(identity, _CachedStorage(self._storage))
            trials = cache.get_all_trials(study_id, deepcopy=deepcopy)
            if self._identity(study_id) == identity:  # at the end, so all the time
                return trials

    def _identity(self, study_id: int) -> Identity:
        try:
            return identity_of(self._storage, study_id)
        except StudyDeleted as error:
            if self._storage.fence_now is not None:
                raise
            raise KeyError(str(error)) from None


def _perform(storage: SearchStorage, request: bytes) -> bytes:
    name, args, kwargs = decode(request)
    if name == "version":
        return encode(("result", __version__))
    if name not in OPERATIONS:
        return encode(("SearchError", f"the proxy knows no {name!r}: use one version everywhere"))
    try:
        return encode(("result", OPERATIONS[name](storage, *args, **kwargs)))
    except (StorageLost, DatabaseError):
        raise
    except (Fenced, SearchError, UpdateFinishedTrialError, KeyError, ValueError) as error:
        kind = "SearchError" if isinstance(error, SearchError) else "ValueError"
        kind = type(error).__name__ if type(error).__name__ in ERRORS else kind
        text = error.args[0] if error.args else ""
        return encode((kind, str(text)))


class _Calls(grpc.ServerInterceptor):  # type: ignore[misc]
    """Tells the storage which call of a client it works for, and the client of outages."""

    def __init__(self, storage: SearchStorage) -> None:
        self._storage = storage
        self._away = False

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        metadata = dict(details.invocation_metadata)
        token, again = metadata.get(TOKEN, ""), metadata.get(AGAIN) == "yes"
        fence = decode(metadata[FENCE].encode()) if FENCE in metadata else None

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with self._storage.called_by(token, again=again, fence=fence):
                try:
                    answer = handler.unary_unary(request, context)
                except (StudyDeleted, Fenced) as error:  # of a call of Optuna's
                    context.abort(grpc.StatusCode.ABORTED, type(error).__name__)
                except Exception as error:
                    reason = self._outage_of(error)
                    if reason is None:
                        raise
                    self._note(reason)
                    context.abort(grpc.StatusCode.UNAVAILABLE, reason)
            self._note(None)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _outage_of(self, error: Exception) -> str | None:
        if isinstance(error, StorageLost):
            return error.reason
        # Of a call that does not wait for outages.
        return self._storage._outage(error)

    def _note(self, reason: str | None) -> None:
        if reason is not None and not self._away:
            logger.warning("lost the database: %s", reason)
        if reason is None and self._away:
            logger.warning("the database answers again")
        self._away = reason is not None
