"""Which process has a trial: of one on its own machine it can be told that it has ended.

It is evidence, and no proof: machines that were cloned with their memory pass for one and the
same. Nobody takes a trial away for it alone.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_ENDED = ("Z", "X")  # a zombie has ended, too


def this_process() -> str | None:
    """What tells this process from all others, now and later; None if it is not known."""
    try:
        place = _place()
        return None if place is None else f"{place} {os.getpid()} {_started_at(os.getpid())}"
    except OSError:  # no /proc: not Linux
        return None


def boot_of(process: str | None) -> str | None:
    """The boot, and so the machine, of a process that ``this_process`` named."""
    return process.split(" ", 1)[0] if process else None


def has_ended(process: str | None) -> bool:
    """Whether a process that ``this_process`` named has ended, as far as can be seen from here.

    False for those of other machines, of before a boot, and of other containers: their numbers
    mean nothing here. They are told by their silence.
    """
    if process is None:
        return False
    try:
        place, pid, started_at = process.rsplit(" ", 2)
        if place != _place():
            return False
        # /proc may hide the processes of other users (hidepid): it is the kernel that is asked.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's process
        pass
    except (OSError, ValueError, OverflowError):
        return False
    try:
        # Its number may have been given again.
        return started_at != _started_at(int(pid))
    except OSError:
        return False


def _place() -> str | None:
    """The boot of the machine, its name, and the container: numbers of processes are unique there.

    None if /proc is that of other processes: of the container around this one, say.
    """
    if os.readlink(_PROC / "self") != str(os.getpid()):
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.uname().nodename} {os.readlink(_PROC / 'self/ns/pid')}"


def _started_at(pid: int) -> str | None:
    """When the process started, in ticks since the boot; None if it has ended.

    Raises:
        OSError: That cannot be seen.
    """
    text = (_PROC / str(pid) / "stat").read_text()
    # The name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else fields[19]
