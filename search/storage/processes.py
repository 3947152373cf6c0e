"""Which process has a trial: on its own machine, one that has ended can be told at once."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_ENDED = ("Z", "X")  # a zombie has ended, too


def this_process() -> str | None:
    """What tells this process from all others, now and later; None if it is not known."""
    try:
        return f"{_place()} {os.getpid()} {_started_at(os.getpid())}"
    except OSError:  # no /proc: not Linux
        return None


def has_ended(process: str | None) -> bool:
    """Whether a process that ``this_process`` named has certainly ended.

    False for those of other machines, of before a boot, and of other containers: their numbers
    mean nothing here. They are told by their silence.
    """
    if process is None:
        return False
    try:
        place, pid, started_at = process.rsplit(" ", 2)
        if place != _place():
            return False
        return started_at != _started_at(int(pid))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def _place() -> str:
    """The boot of the machine, and the container: numbers of processes are unique in both."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"


def _started_at(pid: int) -> str:
    """When the process started, in ticks since the boot; a number is given again after a while.

    Raises:
        FileNotFoundError: There is none, or it has ended.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except ProcessLookupError:  # ended while it was read
        raise FileNotFoundError from None
    # The name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    if fields[0] in _ENDED:
        raise FileNotFoundError
    return fields[19]
