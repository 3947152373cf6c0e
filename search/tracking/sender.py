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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

from search.redaction import redact
from search.tracking import spool
from search.tracking.probe import check_answers
from search.tracking.runs import StudyRuns
from search.tracking.spool import Event

POLL_SECONDS = 0.5
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)  # the last one for ever
MAX_TRIES = 5
LATER_SECONDS = 60.0  # between two tries of what was put off
EVENTS_PER_ROUND = 100  # of one worker, before the next worker's turn
POINTS_WAIT_SECONDS = 2.0  # for more of their run: a call costs the same for one as for many

# Refused for good, if MLflow is otherwise well: the codes of a request that is wrong in itself.
REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"}

_ADVICE = (
    "let this user write there; a server started with --artifacts-destination keeps the "
    "artifacts of new experiments itself"
)

_PREAMBLE = "(raised as a result of"  # SQLAlchemy's, before what the database said

# For this process alone. MLflow's own retries take 4 minutes; the loop below retries instead.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Fault(Enum):
    """What an error says of the event that it came of."""

    REFUSED = "wrong in itself: left out"
    PUT_OFF = "an artifact that has no place: for later, while all else goes on"
    OUTAGE = "MLflow is away: for later, with all behind it"
    AGAIN = "MLflow answers: to be tried again"


class TryAgain(Exception):
    """An event failed at an MLflow that answers."""


class Sender:
    """Reads the event files of a folder and applies them; starts over after every outage."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder = folder
        self._tracking_uri = tracking_uri
        self._runs: StudyRuns | None = None
        self._failures = 0
        self._tries = 0
        self._later_at = 0.0
        # How far each file is sent: further than what is noted beside it, if the disk is full.
        self._sent: dict[Path, int] = {}
        self._status: dict[str, Any] = {"reachable": None, "reason": "", "refused": 0}
        self._status |= {"later": "", "files": ""}
        self._status |= {"experiment": "", "ended": False, "settled": ""}

    def run(self) -> None:
        """Deliver until no worker is left and nothing waits, or what waits cannot go."""
        while paths := spool.journals(self._folder):
            try:
                count = sum(self._deliver(path, paths) for path in paths)
                self._send_later()
            except TryAgain:
                self._start_over(self._tries)
            except Exception as error:
                self._note_outage(error)
                if all(map(_is_abandoned, paths)):
                    return
                self._start_over(self._failures)
            else:
                if not count and all(map(_is_abandoned, spool.journals(self._folder))):
                    return  # none is left, or files alone that cannot be sent
                time.sleep(0 if count else POLL_SECONDS)

    def _start_over(self, failures: int) -> None:
        # All that is known of the runs may be wrong when MLflow is back, perhaps with another
        # database: it is read again.
        self._runs = None
        time.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1])

    def _deliver(self, path: Path, paths: list[Path]) -> int:
        """Apply the next events of one file, and note them as delivered; the number of them."""
        try:
            # Asked before reading: what a worker writes between the two is then read next time.
            abandoned = spool.is_abandoned(path)
            offset = max(spool.delivered_bytes(path), self._sent.get(path, 0))
            found = list(islice(spool.read_events(path, offset), EVENTS_PER_ROUND))
            if not found and abandoned:
                spool.discard(path)
                self._sent.pop(path, None)
        except OSError as error:  # another user's file, a damaged disk: that of no other event
            self._note_trouble(f"{path.name}: {error.strerror}")
            return 0
        if not found or (not abandoned and can_wait([event for event, _ in found])):
            return 0
        if not self._connect([path, *paths]):
            self._note_trouble(f"{path.name} lacks its beginning: it waits for the next worker")
            return 0
        for event, _ in found:
            if event is not None:
                self._apply(event)
        while self._guarded(lambda runs: runs.flush()):
            pass  # each time without the run whose points were refused
        self._sent[path] = found[-1][1]
        self._note_delivery([event for event, _ in found])
        with self._own_files():
            spool.set_delivered(path, found[-1][1])
        return len(found)

    def _connect(self, paths: list[Path]) -> bool:
        """Find the study's runs, unless they are; False if no file says which study it is."""
        if self._runs is not None:
            return True
        study = spool.study_of(paths)
        if study is None:
            return False
        check_answers(self._tracking_uri)
        self._runs = StudyRuns(self._tracking_uri, study)
        self._note(experiment=self._runs.experiment_id)
        return True

    def _apply(self, event: Event) -> None:
        fault = self._guarded(_applied(event), event)
        if fault is Fault.PUT_OFF:
            with self._own_files():
                spool.put_off(self._folder, event)
        elif fault and event.get("event") == "finished":
            # What was refused may have been the points that went with it: its end still counts.
            self._guarded(_applied(event), event)

    def _send_later(self) -> None:
        """Try again what was put off: an artifact store may be mended at any time."""
        if self._runs is None or time.monotonic() < self._later_at:
            return
        self._later_at = time.monotonic() + LATER_SECONDS
        events: list[Event] = []
        with self._own_files():
            events = spool.read_later(self._folder)
        if not events:
            return
        left = list(events)
        for event in events:
            if self._guarded(_applied(event), event) is Fault.PUT_OFF:
                left = [*left[1:], event]  # another one begins the next time
                break
            left.pop(0)
        with self._own_files():
            spool.write_later(self._folder, left)
        if not left:
            self._note(later="")

    def _guarded(
        self, action: Callable[[StudyRuns], None], event: Event | None = None
    ) -> Fault | None:
        """Do it; what is wrong with it. Raises where it is to be done again, later or now."""
        assert self._runs is not None
        try:
            action(self._runs)
            return None
        except Exception as error:
            fault = self._fault_of(error, event or {})
            if fault is Fault.OUTAGE:
                raise
            logging.exception("%s", fault.value)
            if fault is Fault.AGAIN:
                raise TryAgain from error
            self._tries = 0
            if fault is Fault.PUT_OFF:
                self._note(later=f"{self._told(error)}: {_ADVICE}")
            else:
                self._note(refused=self._status["refused"] + 1, reason=self._told(error))
            return fault

    def _fault_of(self, error: Exception, event: Event) -> Fault:
        """Told by whether MLflow answers, before the kind of the error."""
        assert self._runs is not None
        code = getattr(error, "error_code", "")
        if code == "TEMPORARILY_UNAVAILABLE" or not self._runs.is_answering():
            return Fault.OUTAGE
        if code in REFUSALS or isinstance(error, (KeyError, TypeError, ValueError)):
            return Fault.REFUSED
        is_artifact = event.get("event") in ("text", "artifact")
        # A file of this machine; or the store that took none just now.
        if is_artifact and (getattr(error, "filename", None) or self._status["later"]):
            return Fault.PUT_OFF
        # An MLflow that answers and yet fails at this again and again will always do so.
        self._tries += 1
        if self._tries <= MAX_TRIES:
            return Fault.AGAIN
        return Fault.PUT_OFF if is_artifact else Fault.REFUSED

    def _note_delivery(self, events: list[Event | None]) -> None:
        self._failures = self._tries = 0
        ended = self._runs is not None and self._runs.parent.status == "FINISHED"
        settled = [event["settled"] for event in events if event and event.get("settled")]
        settled.insert(0, self._status["settled"])
        # Reachable now, not when its runs were found: what can be read need not take writes.
        self._note(reachable=True, ended=ended, settled=settled[-1])

    def _note_outage(self, error: Exception) -> None:
        logging.exception("MLflow is away")
        self._failures += 1
        # Two workers that create the tables at once make one of them fail once: not worth a word.
        if self._failures > 1 or isinstance(error, OSError):
            self._note(reachable=False, reason=self._told(error))

    def _note_trouble(self, text: str) -> None:
        """Say what ails a file of our own: neither MLflow nor the other files are to blame."""
        if self._status["files"] != text:
            logging.error(text)
        self._note(files=text)

    def _note(self, **news: Any) -> None:
        """Publish what is new."""
        if not news.items() <= self._status.items():
            self._status |= news
            with self._own_files():
                spool.write_status(self._folder, self._status)

    @contextmanager
    def _own_files(self) -> Iterator[None]:
        """What cannot be noted, as on a full disk, is done again by the next sender."""
        try:
            yield
        except OSError:
            logging.exception("not noted")

    def _told(self, error: Exception) -> str:
        """The first line of an error that says what it is, without passwords."""
        lines = [line for line in str(error).splitlines() if not line.startswith(_PREAMBLE)]
        return redact((lines or [type(error).__name__])[0])[:300]


def _applied(event: Event) -> Callable[[StudyRuns], None]:
    return lambda runs: runs.apply(event)


def _is_abandoned(path: Path) -> bool:
    try:
        return spool.is_abandoned(path)
    except OSError:  # a file that cannot be read is nothing to wait for
        return True


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
