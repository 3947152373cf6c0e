"""A search whose only worker hangs: the command starts again, in the place of its process."""

from __future__ import annotations

import os
import sys

from search.workers.hang_watch import end_process

#: As often as ``Fleet`` starts a worker again.
MOST_RESTARTS = 3
_RESTARTS = "TITLE_SEARCH_RESTARTS"
_LAUNCH = "TITLE_SEARCH_LAUNCH"


def restarts() -> int:
    """How often this command has been started again by itself."""
    return int(os.environ.get(_RESTARTS, 0))


def launch_name() -> str | None:
    """What a supervisor that restarts a launch calls it, the same each time; None: nobody does."""
    return os.environ.get(_LAUNCH) or None


def start_again(line: str) -> None:
    """Replace this process by its own command, whatever its threads are stuck in.

    It keeps the process id, so whoever started it need not know. After ``MOST_RESTARTS`` the
    process ends.

    Args:
        line: Why; for the user.
    """
    if restarts() >= MOST_RESTARTS:
        end_process(line)
    sys.stderr.write(f"{line}: the search starts again\n")
    sys.stderr.flush()
    # The arguments as they were given, those of Python itself included.
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**os.environ, _RESTARTS: str(restarts() + 1)})
