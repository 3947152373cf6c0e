"""A worker's side of the sender: start it where there is none, and tell the user how it fares."""

import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_utils.interpreter import start_python
from search.redaction import redact
from search.tracking import spool

# The sender's import of mlflow takes a core for seconds: not while the first trial gets ready.
START_DELAY_SECONDS = 5.0
POLL_SECONDS = 0.5
RESPAWN_SECONDS = (2.0, 10.0, 60.0)  # a sender that dies at once is no reason to start a hundred
SYNC_SECONDS = 5.0
MAX_LOG_BYTES = 1_000_000

# Senders that go on after their worker: kept, or Popen warns of a process it leaves behind.
_OUTLIVING: list[subprocess.Popen[bytes]] = []


class Supervisor(threading.Thread):
    """Sees to it that the folder has a sender, and passes on what that reports."""

    def __init__(self, journal: spool.Journal, uri: str, notify: Callable[[str], None]) -> None:
        super().__init__(name="tracking", daemon=True)
        self._journal = journal
        self._folder = journal.path.parent
        self._uri = uri
        self._notify = notify
        self._process: subprocess.Popen[bytes] | None = None
        self._respawns = 0
        self._respawn_at = 0.0
        self._synced_at = 0.0
        self._was_away = False
        self._lines: set[str] = set()
        self._ending = threading.Event()
        self.wake = threading.Event()

    def run(self) -> None:
        self.wake.wait(START_DELAY_SECONDS)
        while not self._ending.wait(POLL_SECONDS):
            self._tend()

    def finish(self, timeout_seconds: float) -> bool:
        """Wait for the delivery of everything; False when MLflow is away, and so no use."""
        deadline = time.monotonic() + timeout_seconds
        self._ending.set()
        self.wake.set()
        self.join()
        self._synced_at = 0.0
        while True:
            self._tend()
            if spool.delivered_bytes(self._journal.path) >= self._journal.size:
                return True
            if self._was_away:
                return False
            if time.monotonic() > deadline:
                # Not known yet, as while its tables are created, is not away.
                return spool.read_status(self._folder).get("reachable") is not False
            time.sleep(0.05)

    def leave(self) -> None:
        """End without seeing to a delivery: there is nothing to deliver."""
        self._ending.set()
        self.wake.set()
        self.join()

    def part(self) -> None:
        """Let the sender end, or outlive this process where it still has work."""
        if self._process is None:
            return
        if self._was_away:  # it sleeps until its next try; of others' workers one starts another
            self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            _OUTLIVING.append(self._process)

    def _tend(self) -> None:
        try:
            if time.monotonic() - self._synced_at > SYNC_SECONDS:
                self._journal.sync()
                self._synced_at = time.monotonic()
            self._ensure_sender()
            self._relay(spool.read_status(self._folder))
        except OSError as error:  # a full disk ends tracking, not the trial
            logging.getLogger(__name__).debug("tracking: %s", error)

    def _ensure_sender(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() < self._respawn_at or spool.sender_runs(self._folder):
            return
        delay = RESPAWN_SECONDS[min(self._respawns, len(RESPAWN_SECONDS) - 1)]
        self._respawn_at = time.monotonic() + delay
        self._respawns += 1
        # What the last sender said of MLflow may be of last week.
        spool.write_status(self._folder, {})
        self._process = _spawn_sender(self._folder, self._uri)

    def _relay(self, status: dict[str, Any]) -> None:
        """A line when MLflow goes away, one when it is back, and the first time one for each kind
        of event that cannot be sent."""
        where, reason = redact(self._uri), status.get("reason", "")
        is_away = status.get("reachable") is False
        if is_away and not self._was_away:
            self._notify(f"MLflow at {where} is away, training goes on without it ({reason})")
            self._was_away = True
        if self._was_away and status.get("reachable"):
            self._notify(f"MLflow at {where} is back and gets what it missed")
            self._was_away = False
        if status.get("refused"):
            self._say_once(f"MLflow at {where} refuses a part of what it is sent", reason)
        if status.get("later"):
            self._say_once(
                f"MLflow at {where} has no place for artifacts from here; they wait in "
                f"{self._folder}, and all else is sent",
                status["later"],
            )
        if status.get("files"):
            self._say_once(f"tracking events in {self._folder} are left alone", status["files"])

    def _say_once(self, line: str, reason: str) -> None:
        if line not in self._lines:
            self._lines.add(line)
            self._notify(f"{line} ({reason})")


def _spawn_sender(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    log = folder / "sender.log"
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.unlink()
    with log.open("ab") as output:
        process = start_python(
            ["-W", "ignore", "-m", "search.tracking.sender", str(folder)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal is for the worker, which then still has events to send.
            start_new_session=True,
        )
    assert process.stdin
    # Not as an argument: the URI may hold a password, and every user sees those.
    with process.stdin:
        process.stdin.write(json.dumps({"tracking_uri": uri}).encode())
    return process
