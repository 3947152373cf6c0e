"""The process that passes a study's events on to MLflow: `python -m search.tracking.sender DIR`.

A process and not a thread: importing mlflow and creating its tables is seconds of pure Python and
225 MB, for which every worker's training would wait at the interpreter lock. One serves all
workers of a folder. It ends by itself when the last worker is gone and its events are delivered,
or cannot be.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from search.tracking import spool
from search.tracking.probe import check_answers
from search.tracking.runs import StudyRuns
from search.tracking.spool import Event

POLL_SECONDS = 0.5
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)  # the last one for ever
MAX_TRIES = 5
EVENTS_PER_ROUND = 100  # of one worker, before the next worker's turn
POINTS_WAIT_SECONDS = 2.0  # for more of their run: a call costs the same for one as for many

# Refused for good, if MLflow is otherwise well: the codes of a request that is wrong in itself.
REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"}

# For this process alone. MLflow's own retries take 4 minutes; the loop below retries instead.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Sender:
    """Reads the event files of a folder and applies them; starts over after every outage."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder = folder
        self._tracking_uri = tracking_uri
        self._runs: StudyRuns | None = None
        self._failures = 0
        self._tries = 0
        self._status: dict[str, Any] = {"reachable": None, "reason": "", "refused": 0}
        self._status |= {"experiment": "", "ended": False}

    def run(self) -> None:
        """Deliver until no worker is left and nothing waits, or what waits cannot go."""
        while paths := spool.journals(self._folder):
            try:
                count = sum(self._deliver(path) for path in paths)
            except Exception as error:
                self._note_outage(error)
                if all(spool.is_abandoned(path) for path in paths):
                    return
                row = max(self._failures, self._tries)
                time.sleep(RETRY_SECONDS[min(row, len(RETRY_SECONDS)) - 1])
            else:
                time.sleep(0 if count else POLL_SECONDS)

    def _deliver(self, path: Path) -> int:
        """Apply the next events of one file, and note them as delivered; the number of them."""
        # Asked before reading: what a worker writes between the two is then read the next time.
        abandoned = spool.is_abandoned(path)
        unread = spool.read_events(path, spool.delivered_bytes(path))
        found = list(islice(unread, EVENTS_PER_ROUND))
        if not found and abandoned:
            spool.discard(path)
        if not found or (not abandoned and can_wait([event for event, _ in found])):
            return 0
        for event, _ in found:
            if event is not None:
                self._apply(path, event)
        while not self._guarded(lambda runs: runs.flush()):
            pass  # each time without the run whose points were refused
        self._note_end()
        spool.set_delivered(path, found[-1][1])
        self._tries = 0
        return len(found)

    def _apply(self, path: Path, event: Event) -> None:
        if self._runs is None:
            study, _ = next(spool.read_events(path, 0))
            assert study  # the file's first line
            check_answers(self._tracking_uri)
            self._runs = StudyRuns(self._tracking_uri, study)
            self._note_connection()
        if not self._guarded(lambda runs: runs.apply(event)) and event["event"] == "finished":
            # What was refused may have been the points that went with it: its end still counts.
            self._guarded(lambda runs: runs.apply(event))

    def _guarded(self, action: Callable[[StudyRuns], None]) -> bool:
        """Do it; False where MLflow refuses it in itself. Raises where MLflow is away."""
        if self._runs is None:
            return True
        try:
            action(self._runs)
            return True
        except Exception as error:
            if not self._is_refusal(error):
                raise
            logging.exception("left out")
            self._status |= {"refused": self._status["refused"] + 1, "reason": self._told(error)}
            spool.write_status(self._folder, self._status)
            return False

    def _is_refusal(self, error: Exception) -> bool:
        assert self._runs
        code = getattr(error, "error_code", "")
        if code == "TEMPORARILY_UNAVAILABLE" or isinstance(error, OSError):
            return False
        if not self._runs.is_answering():
            return False
        if code in REFUSALS or isinstance(error, (KeyError, TypeError, ValueError)):
            return True
        # An MLflow that answers and yet fails at this again and again will always do so.
        self._tries += 1
        return self._tries > MAX_TRIES

    def _note_connection(self) -> None:
        assert self._runs
        self._failures = 0
        experiment = self._runs.experiment_id
        self._status |= {"reachable": True, "reason": "", "experiment": experiment}
        spool.write_status(self._folder, self._status)

    def _note_end(self) -> None:
        ended = self._runs is not None and self._runs.parent.status == "FINISHED"
        if ended != self._status["ended"]:
            self._status["ended"] = ended
            spool.write_status(self._folder, self._status)

    def _note_outage(self, error: Exception) -> None:
        logging.exception("MLflow is away")
        # All that is known of the runs may be wrong when MLflow is back, perhaps with another
        # database: it is read again.
        self._runs = None
        self._failures += 1
        self._status |= {"reachable": False, "reason": self._told(error)}
        # Two workers that create the tables at once make one of them fail once: not worth a word.
        if self._failures > 1 or isinstance(error, OSError):
            spool.write_status(self._folder, self._status)

    def _told(self, error: Exception) -> str:
        """The first line of an error, without the address' user and password."""
        secret = urlsplit(self._tracking_uri).netloc.rpartition("@")[0]
        text = (str(error).splitlines() or [type(error).__name__])[0]
        return (text.replace(f"{secret}@", "") if secret else text)[:300]


def can_wait(events: list[Event | None]) -> bool:
    """Whether these are few, and all of them points of a moment ago."""
    if len(events) == EVENTS_PER_ROUND:
        return False
    since = (time.time() - POINTS_WAIT_SECONDS) * 1000
    return all(e and e["event"] == "evaluated" and e["time"] > since for e in events)


def main() -> None:
    """Serve the folder in the first argument; settings come as JSON on standard input.

    Not as arguments: the tracking URI may hold a password, and every user sees those.
    """
    folder = Path(sys.argv[1])
    settings = json.load(sys.stdin)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    (folder / spool.SENDER_LOCK).touch()
    try:
        with spool.locked(folder / spool.SENDER_LOCK):
            Sender(folder, settings["tracking_uri"]).run()
    except BlockingIOError:
        return  # another one serves this folder


if __name__ == "__main__":
    main()
