"""optuna-dashboard itself, over this service's storage.

Its own command makes an object of every row of a study, and of all rows again every ten seconds
while a page is open; connections that died with a restart of the database fail the next requests
(optuna-dashboard 0.21). Here a trial that has ended is read once, and connections are tried first.
What else is mended stands in ``application.py``.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Container
from contextlib import closing
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.trial import FrozenTrial, TrialState

from search.dashboard.application import make_app
from search.errors import StorageError
from search.storage.opening import is_proxy, open_database, open_storage
from search.storage.operations import StudyStorage
from search.storage.overrides import SearchStorage
from search.storage.reading import TrialMemory

# A page that got an error asks again; one that waits shows nothing.
_OUTAGE_SECONDS = 5.0
_THREADS = 4


def open_for_dashboard(url: str) -> StudyStorage:
    """The storage at ``url``, its tables made if they are missing; a proxy's keeps trials itself.

    Raises:
        StorageError: It cannot be used.
    """
    if is_proxy(url):
        return open_storage(url, outage_seconds=_OUTAGE_SECONDS)
    return open_database(
        url,
        outage_seconds=_OUTAGE_SECONDS,
        connections=_THREADS,
        storage_class=_RememberingStorage,
    )


def serve(
    url: str, artifacts: Path, *, host: str, port: int, ready: Callable[[str, str], None]
) -> None:
    """Serve the dashboard until SIGTERM or Ctrl-C.

    Args:
        ready: Told the page's address and the storage's, without password, once it serves.

    Raises:
        StorageError: The storage cannot be used, or the address is taken.
    """
    # Optuna's, whenever a page asks for importances: nobody reads it here.
    warnings.filterwarnings("ignore", "Some regimes for parameter", UserWarning)
    with closing(open_for_dashboard(url)) as storage, _bind(host, port) as server:
        server.set_app(make_app(storage, artifacts, host=host))
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        serving.start()
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{server.server_port}", storage.display_url)
        while not stopping.wait(0.5):  # in slices: a signal does not end a wait
            pass
        server.shutdown()


def _bind(host: str, port: int) -> _Server:
    try:
        return _Server((host, port), _QuietHandler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"cannot listen on {host}:{port} ({reason}): give another --port or --host"
        ) from None


class _RememberingStorage(SearchStorage):
    """Reads each trial that has ended once, for as long as it is open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memory = TrialMemory()
        # Pages ask for several things at once: the first reads for all.
        self._remembering = threading.Lock()

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None or trial_id_greater_than >= 0:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        with self._remembering:
            fetched = self.transaction(
                lambda session, _: self._memory.fetch(session, study_id), reading=True
            )
            trials = self._memory.build(study_id, fetched)
        # Without trials it may be that the study is not there.
        return trials or super()._get_trials(study_id, None, set(), -1)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        # HTTPServer asks the network for its name here, which may take long.
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser that went away
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass  # an open page asks every few seconds
