"""Workers as tasks of a Ray cluster: it runs already, none is started and no host chosen here.

Each task joins the study as ``studies.py worker`` does, in a process of Ray's. What the trials
are, and who runs them, stands in the study's storage: Ray only keeps the workers going.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_utils.errors import DataError
from search.display.progress import Progress
from search.errors import SearchError
from search.join import JoinOptions, join_study
from search.redaction import redact
from search.workers.fleet import WorkerFailed
from search.workers.watch import StudyWatch

# How often Ray starts a worker again whose process or node died.
_MOST_RESTARTS = 10
_LOOK_SECONDS = 1.0


def connect(address: str | None, storage_url: str) -> None:
    """Connect to the cluster at ``address``, by default the one that runs on this machine.

    Raises:
        SearchError: Ray is not installed, no cluster answers, or its nodes cannot share the
            storage.
    """
    try:
        import ray
    except ImportError:
        raise SearchError("--launcher ray needs Ray: pip install '.[ray]'") from None
    _see_that_it_answers(address)
    # Ray would say on standard error that it leaves the devices of workers without GPUs alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        # Ray puts the folder that it is started in before all others of the workers' path: they
        # would import whatever lies in the user's.
        with contextlib.chdir(Path(__file__).parents[2]):
            ray.init(
                address=address or "auto",
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (
        ray.exceptions.AuthenticationError,
        ConnectionError,
        RuntimeError,
        ValueError,
        ImportError,
    ) as error:
        raise _unreached(error, address) from None
    nodes = len(_nodes())
    is_elsewhere = nodes > 1 or (address or "").startswith("ray://")
    if storage_url.startswith("sqlite") and is_elsewhere:
        ray.shutdown()
        raise SearchError(
            f"storage {redact(storage_url)} is a file of this machine, which the {nodes} nodes of "
            "the Ray cluster cannot share: give --storage postgresql+psycopg://… or grpc://…"
        )


@dataclass(frozen=True)
class Failure:
    """What a worker ended with: one line, and the exit status that it means for the command."""

    line: str
    exit_status: int


class RayFleet:
    """``num_workers`` tasks of the cluster that ``connect`` has connected to.

    Args:
        work: What each worker does in the cluster; what was wrong, if anything.
        on_gpus: Whether each takes a GPU, if the cluster has any.
        watch: Shows what they do.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        work: Callable[[], Failure | None],
        on_gpus: bool,
        watch: StudyWatch,
        progress: Progress,
    ) -> None:
        self._num_workers = num_workers
        self._work = work
        self._on_gpus = on_gpus
        self._watch = watch
        self._progress = progress
        self._signals = 0
        self._failure: Failure | None = None

    def run(self) -> bool:
        """Run to the end of the study; False if it was interrupted.

        The first signal lets the workers save their checkpoints, the second ends them at once.

        Raises:
            SearchError: A worker ended with an error, said in its own words.
        """
        import ray

        before = {
            number: signal.signal(number, self._count)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            # There Ray prints pages of its own logs when a node dies. The display has its stream.
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                try:
                    self._run()
                finally:
                    ray.shutdown()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self._watch.look()
        if self._failure:
            raise WorkerFailed(self._failure.line, exit_status=self._failure.exit_status)
        return not self._signals

    def _run(self) -> None:
        import ray

        running = self._start()
        nodes = _nodes()
        passed_on = 0
        while running:
            ended, running = ray.wait(running, timeout=_LOOK_SECONDS)
            self._note(ended)
            self._watch.look()
            before, nodes = nodes, _nodes()
            if before - nodes:
                self._progress.message(
                    "a node of the Ray cluster is gone: its workers start again elsewhere"
                )
            if self._signals > passed_on:
                passed_on = self._signals
                for worker in running:
                    # As Ctrl-C in the worker's process; one that waits for a place is dropped.
                    ray.cancel(worker, force=passed_on > 2)

    def _start(self) -> list[Any]:
        import ray

        resources = ray.cluster_resources()
        num_gpus = int(self._on_gpus and resources.get("GPU", 0) >= 1)
        places = int(resources.get("GPU" if num_gpus else "CPU", 0))
        if places < self._num_workers:
            kind = "GPUs" if num_gpus else "cores"
            self._progress.message(
                f"the Ray cluster has {places} {kind} for {self._num_workers} workers: the others "
                "wait for a place"
            )
        task = ray.remote(_call).options(
            num_cpus=1,
            num_gpus=num_gpus,
            max_retries=_MOST_RESTARTS,
            scheduling_strategy="SPREAD",
            name="title-search worker",
        )
        return [task.remote(self._work) for _ in range(self._num_workers)]

    def _note(self, ended: Iterable[Any]) -> None:
        import ray

        for worker in ended:
            try:
                self._failure = ray.get(worker) or self._failure
            except ray.exceptions.TaskCancelledError:
                continue
            except ray.exceptions.RayError as error:
                lines = [line for line in str(error).splitlines() if line.strip()] or [""]
                if not self._signals:
                    line = f"a worker on the Ray cluster ended: {redact(lines[-1])}"
                    self._failure = Failure(line, exit_status=1)

    def _count(self, number: int, frame: object) -> None:
        self._signals += 1


def join(options: JoinOptions) -> Failure | None:
    """Work until the study ends, in a process of the cluster; what was wrong, if anything."""
    try:
        join_study(options)
    except SearchError as error:
        return Failure(str(error), exit_status=error.exit_status)
    except DataError as error:
        return Failure(str(error), exit_status=2)
    return None


def _see_that_it_answers(address: str | None) -> None:
    """Refuse an address at which Ray itself would try for minutes, and print pages of its log."""
    if address in (None, "auto"):
        address = os.environ.get("RAY_ADDRESS")
    if address in (None, "auto", "local"):
        return
    assert address is not None
    target = address.removeprefix("ray://")
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except (OSError, ValueError) as error:
        raise SearchError(
            f"no Ray cluster answers at {address} ({error}): check --ray-address HOST:PORT"
        ) from None
    if target == address and _wants_token(target):
        raise _token_wanted(address)


def _wants_token(target: str) -> bool:
    """Whether the cluster refuses what this process would send it as a token, or its absence."""
    import grpc
    import ray
    from ray._private.authentication import grpc_authentication_client_interceptor as tokens

    try:
        own = tokens._get_authentication_metadata_tuple()
    except ray.exceptions.AuthenticationError:  # told to send one, it finds none
        return True
    with grpc.insecure_channel(target) as channel:
        look = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            look(b"", timeout=10.0, metadata=own)
        except grpc.RpcError as error:  # of all others Ray says more
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


def _unreached(error: BaseException, address: str | None) -> SearchError:
    import ray

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ray.exceptions.AuthenticationError):
            return _token_wanted(address)
        cause = cause.__cause__
    reason = (str(error).splitlines() or [""])[0].rstrip(".")
    return SearchError(
        f"no Ray cluster can be reached {_where(address)} ({reason}): start one with "
        "`ray start --head`, or give --ray-address"
    )


def _where(address: str | None) -> str:
    return f"at {address}" if address else "on this machine"


def _token_wanted(address: str | None) -> SearchError:
    return SearchError(
        f"the Ray cluster {_where(address)} asks for a token: set RAY_AUTH_MODE=token, and "
        "RAY_AUTH_TOKEN to the cluster's token unless that is in ~/.ray/auth_token"
    )


def _nodes() -> set[str]:
    """The ids of those that are alive: one may come in the place of another between two looks."""
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _call(work: Callable[[], Failure | None]) -> Failure | None:
    return work()
