"""Several workers on this machine: processes that share it fairly and one display."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from search.display.progress import Progress
from search.errors import SearchError
from search.workers.hang_watch import HUNG_STATUS

# A worker that dies is started again, but not one that cannot live: so often without any trial
# that it came to the end of.
_MOST_RESTARTS = 3
# A worker says every 15 s that it is alive. One that is suspended, or stuck in a call that holds
# the interpreter, is of no use to the study, and may hold a lock of the database: it is killed
# before others give the database up.
_MOST_SILENT_SECONDS = 90.0
_POLL_SECONDS = 0.1
# Events of a worker's own display that ours repeats, and the facts of each.
_RELAYED = {
    "trial_started": ("number", "params"),
    "evaluated": ("number", "step", "max_step", "value", "epoch"),
    "trial_finished": ("number", "state", "value", "seconds", "counted", "reason"),
    "study_state": ("complete", "pruned", "failed", "workers", "best"),
    "message": ("text",),
    "remark": ("text",),
}
_STUDIES = Path(__file__).resolve().parents[2] / "studies.py"


class WorkerFailed(SearchError):
    """A worker ended with an error, and with the exit status that it gave."""

    def __init__(self, line: str, *, exit_status: int) -> None:
        super().__init__(line)
        self.exit_status = exit_status


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen[str]
    readers: list[threading.Thread]
    error: str = ""
    restarts: int = 0
    is_given_up: bool = False
    # Since its last line, once it has said that it is alive.
    silent_seconds: float | None = None


class Fleet:
    """``num_workers`` local processes of ``studies.py worker``.

    Cores are divided among them (two processes with all cores each are slower than one), and they
    map the same prepared data. The storage URL travels in the environment: arguments are for
    everybody to read.

    Args:
        arguments: Of the worker command.
        environment: Added to each worker's environment.
        devices: Dealt out round-robin.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        devices: Sequence[str],
        progress: Progress,
    ) -> None:
        self._num_workers = num_workers
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._devices = list(devices)
        self._progress = progress
        self._lock = threading.Lock()
        self._stopping = False
        self._said = ""
        self._workers: list[_Worker] = []

    def run(self) -> bool:
        """Run to the end of the study; False if it was interrupted.

        Raises:
            SearchError: A worker ended with an error, said in its own words.
        """
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._progress.view.workers = self._num_workers
            for index in range(self._num_workers):
                self._workers.append(self._start(index))
            if self._stopping:  # the signal came while they were being started
                self._stop(signal.SIGTERM, None)
            while True:
                self._kill_the_silent()
                self._restart_the_dead()
                if all(worker.process.poll() is not None for worker in self._workers):
                    break
                time.sleep(_POLL_SECONDS)
        finally:
            for worker in self._workers:
                worker.process.wait()
                for reader in worker.readers:
                    reader.join()
            for number, handler in before.items():
                signal.signal(number, handler)
        is_through = any(worker.process.returncode == 0 for worker in self._workers)
        for worker in self._workers:
            code = worker.process.returncode
            if (self._stopping and code < 0) or (worker.is_given_up and is_through):
                continue
            if code not in (0, 130):
                line = worker.error or f"worker {worker.index} ended with {code}"
                raise WorkerFailed(line, exit_status=code if code > 0 else 1)
        return not self._stopping

    def _start(self, index: int) -> _Worker:
        device = self._devices[index % len(self._devices)]
        process = subprocess.Popen(
            [sys.executable, str(_STUDIES), "worker", *self._arguments, "--device", device],
            env=os.environ | self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whatever some library prints: a reader that ends would block the worker in time.
            errors="replace",
            # Ctrl-C reaches the whole foreground group; it is for us to pass it on, once.
            start_new_session=True,
        )
        worker = _Worker(index, process, [])
        for target, stream in ((self._relay, process.stdout), (self._note, process.stderr)):
            reader = threading.Thread(target=target, args=(worker, stream), daemon=True)
            reader.start()
            worker.readers.append(reader)
        return worker

    def _kill_the_silent(self) -> None:
        for worker in self._workers:
            if worker.silent_seconds is None or worker.process.poll() is not None:
                continue
            # In steps: while this process itself is suspended, nobody is silent.
            worker.silent_seconds += _POLL_SECONDS
            if worker.silent_seconds > _MOST_SILENT_SECONDS:
                worker.silent_seconds = None
                self._progress.message(f"worker {worker.index} is stuck: killed")
                worker.process.kill()

    def _restart_the_dead(self) -> None:
        for place, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None or self._stopping or worker.is_given_up:
                continue
            # Ended by a signal that was not ours: killed from outside, or out of memory.
            if code < 0:
                why = f"was killed (signal {-code})"
            elif code == HUNG_STATUS:
                why = f"hung: {worker.error}"
            else:
                continue
            if worker.restarts >= _MOST_RESTARTS:
                worker.is_given_up = True
                self._progress.message(f"worker {worker.index} {why}: given up")
                continue
            self._progress.message(f"worker {worker.index} {why}: restarted")
            fresh = self._start(worker.index)
            fresh.restarts = worker.restarts + 1
            self._workers[place] = fresh

    def _relay(self, worker: _Worker, stream: IO[str]) -> None:
        for line in _lines(stream):
            event = _event(line)
            name = event.get("event", "")
            if name == "alive" or worker.silent_seconds is not None:
                worker.silent_seconds = 0.0
            if name == "trial_finished":
                worker.restarts = 0
            facts = {key: event[key] for key in _RELAYED.get(name, ()) if key in event}
            if not facts or not self._is_news(name, facts):
                continue
            # Of some library, with a use of its own for the name of an event of ours.
            with self._lock, suppress(TypeError, ValueError):
                getattr(self._progress, name)(**facts)

    def _is_news(self, name: str, facts: Mapping[str, Any]) -> bool:
        """Not when one worker after another says the same of the whole study."""
        if name not in ("message", "remark"):
            return True
        said, self._said = self._said, facts["text"]
        return said != facts["text"]

    def _note(self, worker: _Worker, stream: IO[str]) -> None:
        for line in _lines(stream):
            if line.startswith("error: "):
                worker.error = line.removeprefix("error: ").strip()
            elif line.strip() and self._is_news("message", {"text": line.strip()}):
                with self._lock:
                    self._progress.message(line.strip())

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)


def _event(line: str) -> dict[str, Any]:
    """What a worker says, with the facts that belong to it; empty for what others print."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else {}


def _lines(stream: IO[str]) -> Iterator[str]:
    with stream:
        yield from stream
