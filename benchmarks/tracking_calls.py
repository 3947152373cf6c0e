"""What tracking costs a worker beside an MLflow server that takes 57 ms for each call.

    python -m benchmarks.tracking_calls [--json FILE] [--markdown FILE] [--quick]

One worker searches in this process and tracks into a real MLflow server, behind a connection on
which all that is sent waits for 57 ms: what a call took in a container beside its server. Counted
is the time by the clock that the worker spends in calls of its tracker, from the start of each
trial to what follows its end, as a share of its trials' time. The sender, a process of its own,
makes the HTTP calls; beside the share stands what they would take, had the worker waited for them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import optuna

import studies
from benchmarks.command import Report, options, verdict
from benchmarks.parts import Method, timed_parts
from benchmarks.processes import free_port
from search.storage.opening import open_storage
from search.tracking.client import Tracker

CALL_SECONDS = 0.057
TARGET_SHARE = 0.03
_CALLS = ("trial_started", "evaluated", "trial_finished", "study_progress", "log_text")
_METHODS: tuple[Method, ...] = tuple((name, Tracker, name) for name in _CALLS)
_STUDY = "tracking-calls"
_START_SECONDS = 120


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """A server with a database of its own in ``folder``; the port where it listens.

    Raises:
        RuntimeError: It does not come up, with what it said.
    """
    port, log = free_port(), folder / "server.log"
    command = ["server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            stdout=file,
            stderr=file,
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no MLflow server: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield port
    finally:
        # A group of its own with its workers; asked to end, they take 10 seconds.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class SlowConnection:
    """Passes connections on to a port; what the client sends waits first.

    Attributes:
        calls: How many HTTP requests came through.
    """

    def __init__(self, target: int, seconds: float) -> None:
        self.calls = 0
        self._target, self._seconds = target, seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for source, sink, slow in ((near, far, True), (far, near, False)):
                    arguments = (source, sink, slow)
                    threading.Thread(target=self._copy, args=arguments, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with source, suppress(OSError):  # the other direction has ended both
            while data := source.recv(1 << 20):
                # The head of a request; its body may come in the same piece or in the next.
                if slow and b" HTTP/1.1\r\n" in data[:4096]:
                    self.calls += 1
                    time.sleep(self._seconds)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Found:
    """What one search spent; times in seconds.

    Attributes:
        in_calls: By the name of the tracker's method.
        of_trials: From the start to the end of each trial, all together.
        http_calls: What the sender had made of it when the search ended.
    """

    trials: int
    in_calls: dict[str, float]
    of_trials: float
    http_calls: int

    @property
    def share(self) -> float:
        return sum(self.in_calls.values()) / self.of_trials

    @property
    def share_if_waited_for(self) -> float:
        return self.http_calls * CALL_SECONDS / self.of_trials


def measure(trials: int) -> Found:
    """Search with as many trials, none pruned.

    Raises:
        RuntimeError: The search failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/optuna.db"
        arguments = ["--study", _STUDY, "--storage", url, "--out", name, "--trials", str(trials)]
        arguments += ["--pruner", "none", "--quiet"]
        with (
            mlflow_server(folder) as port,
            closing(SlowConnection(port, CALL_SECONDS)) as slow,
            timed_parts(_METHODS) as parts,
        ):
            arguments += ["--tracking-uri", f"http://127.0.0.1:{slow.port}"]
            if status := studies.main(arguments):
                raise RuntimeError(f"the search ended with status {status}")
        with closing(open_storage(url)) as storage:
            study = optuna.load_study(study_name=_STUDY, storage=storage)
            durations = [trial.duration for trial in study.get_trials(deepcopy=False)]
        seconds = sum(duration.total_seconds() for duration in durations if duration)
        return Found(len(durations), dict(parts.seconds), seconds, slow.calls)


def main() -> None:
    """Search once, print the table, write the files."""
    arguments = options(__doc__, quick="5 trials").parse_args()
    found = measure(5 if arguments.quick else 50)
    report = Report()
    rows = [
        [name, f"{1e3 * seconds / found.trials:.2f}"] for name, seconds in found.in_calls.items()
    ]
    rows.append(["all", f"{1e3 * sum(found.in_calls.values()) / found.trials:.2f}"])
    title = f"{found.trials} trials of {found.of_trials / found.trials:.1f} s on average"
    report.table(title, ["call", "ms of the worker per trial"], rows)
    report.add(
        f"Until the search ended the sender made {found.http_calls} HTTP calls: "
        f"{found.share_if_waited_for:.1%} of the trials' time, had the worker waited for them."
    )
    target = f"at most {TARGET_SHARE:.0%} of the trials' time goes to tracking"
    report.add(verdict(target, found.share <= TARGET_SHARE, f"{found.share:.2%}"))
    report.content |= {
        "trials": found.trials,
        "seconds_in_calls": found.in_calls,
        "seconds_of_trials": found.of_trials,
        "http_calls": found.http_calls,
        "share": found.share,
    }
    report.write(arguments)


if __name__ == "__main__":
    main()
