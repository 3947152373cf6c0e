"""The folder of event files between the workers of a study and the process that feeds MLflow.

Each worker appends JSON lines to a file of its own and holds a lock on it as long as it lives;
one sender per folder reads the files in order and notes beside each how far it has got. A line is
on its way to MLflow from the moment it is written, so neither a killed worker nor an MLflow that
is down loses it. Knows nothing of MLflow.
"""

import errno
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search.folders import replace_text

Event = dict[str, Any]

JOURNAL_SUFFIX = ".jsonl"
SENDER_LOCK = "sender.lock"
SENDER_STATUS = "sender.json"
LATER = "later.events"

_STUDY_KEYS = {"study_name", "study_key", "experiment", "params", "tags", "time"}


class Journal:
    """The event file of one worker; appending costs some tens of microseconds.

    Its first event, the study's, is in it before it has its name: no event can be understood
    without that.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, first: Event) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Named by time so that a sender meets an older attempt's events before a newer one's.
        name = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.path = folder / f"{name}{JOURNAL_SUFFIX}"
        hidden = folder / f".{name}.new"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(hidden, flags, 0o644)
        self._written = self._synced = 0
        self.size = 0  # up to the end of the last whole event
        try:
            # Locked before it shows under its name: an unlocked journal is that of a dead worker,
            # which the sender deletes once it is read.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self.append(first)
            hidden.rename(self.path)
        except OSError:
            os.close(self._descriptor)
            hidden.unlink(missing_ok=True)
            raise

    def append(self, event: Event) -> None:
        """Add one event. Raises OSError, and leaves the file readable, when the disk is full."""
        line = json.dumps(event, default=str, ensure_ascii=False).encode() + b"\n"
        if self._written > self.size:  # or this event would run on from a torn line, lost with it
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        self._written += written
        if written < len(line):
            raise OSError(errno.ENOSPC, "only a part of an event could be written", self.path)
        self.size = self._written

    def sync(self) -> None:
        """Put on the disk what was appended since the last call."""
        if self._written > self._synced:
            size = self._written
            os.fsync(self._descriptor)
            self._synced = size

    def close(self) -> None:
        """Let go of the file: whatever is left in it belongs to the next sender."""
        os.close(self._descriptor)

    def undelivered(self) -> int:
        """Number of events that the sender has not passed on."""
        return sum(1 for _ in read_events(self.path, delivered_bytes(self.path)))


def journals(folder: Path) -> list[Path]:
    """The event files in a folder, oldest first."""
    return sorted(folder.glob(f"*{JOURNAL_SUFFIX}"))


def read_events(path: Path, offset: int) -> Iterator[tuple[Event | None, int]]:
    """Each whole line after `offset` bytes, with the offset behind it; None for a damaged one."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # read to its end by the sender, and deleted
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            yield event if isinstance(event, dict) else None, offset


def study_of(paths: Iterable[Path]) -> Event | None:
    """The study's event from the first of these files that begins with one.

    Those of earlier versions may lack it: they wrote it when the file had its name already, and
    the disk may have been full just then.
    """
    for path in paths:
        with suppress(OSError):
            event, _ = next(read_events(path, 0), (None, 0))
            if event and event.get("event") == "study" and event.keys() >= _STUDY_KEYS:
                return event
    return None


def delivered_bytes(path: Path) -> int:
    """How far the sender has got in an event file; everything, when it is gone."""
    try:
        return int(_offset_file(path).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def set_delivered(path: Path, offset: int) -> None:
    """Note how far an event file is delivered. Losing the note costs a replay, never a point."""
    replace_text(_offset_file(path), str(offset))


def is_abandoned(path: Path) -> bool:
    """Whether the worker that wrote this file is gone."""
    try:
        with locked(path):
            return True
    except (BlockingIOError, FileNotFoundError):
        return False


def discard(path: Path) -> None:
    """Delete an event file that is delivered and abandoned."""
    # The file first: an offset without its file is rubbish, a file without its offset is sent
    # again from its start.
    with suppress(FileNotFoundError):
        path.unlink()
    with suppress(FileNotFoundError):
        _offset_file(path).unlink()


def read_later(folder: Path) -> list[Event]:
    """The events that the sender has put off."""
    return [event for event, _ in read_events(folder / LATER, 0) if event is not None]


def put_off(folder: Path, event: Event) -> None:
    """Add one to them."""
    with (folder / LATER).open("a") as file:
        file.write(json.dumps(event, ensure_ascii=False) + "\n")


def write_later(folder: Path, events: list[Event]) -> None:
    """Replace them; without any there is no file."""
    if events:
        lines = (json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        replace_text(folder / LATER, "".join(lines))
    else:
        (folder / LATER).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an existing file's lock, or raise BlockingIOError at once."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def sender_runs(folder: Path) -> bool:
    """Whether some process is passing this folder's events on."""
    (folder / SENDER_LOCK).touch()
    try:
        with locked(folder / SENDER_LOCK):
            return False
    except BlockingIOError:
        return True


def read_status(folder: Path) -> dict[str, Any]:
    """What the sender last said: `reachable`, `reason`, `refused`, the id of the `experiment` in
    MLflow, whether the study's run has `ended` there, and which states of trials are `settled`;
    why artifacts are put off, and the sender's trouble with its own `files`. Empty before that."""
    try:
        status = json.loads((folder / SENDER_STATUS).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Publish the sender's state for all workers of the folder."""
    replace_text(folder / SENDER_STATUS, json.dumps(status))


def _offset_file(path: Path) -> Path:
    return path.with_suffix(".sent")
