"""Notices that a trial hangs: no evaluation comes, although the process has time to run.

Nothing in Python ends a thread that is stuck in a native call, so what hangs takes its process
with it. A process that is stuck as a whole (suspended, or in a call that holds the interpreter)
cannot notice; its parent does, which misses its ``on_alive``.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Of the process: its worker may be started again. Linux's EX_TEMPFAIL.
HUNG_STATUS = 75
ALIVE_SECONDS = 15.0
_TICK_SECONDS = 5.0
# The evaluations of one trial cost the same work each. A machine that becomes busy, a checkpoint
# on a slow disk or a database that is away for minutes make one late, but not by so much.
_TIMES_SLOWEST = 20.0
_SHORTEST_SECONDS = 600.0
# The first one has nothing to be compared with, and waits for data to be read.
_FIRST_SECONDS = 3600.0


class HangWatch:
    """A thread that counts the time since the trial's last evaluation.

    Args:
        on_hang: Called in that thread with the seconds without an evaluation. If it returns, the
            trial gets a little more time.
        on_alive: Called now and then, whether a trial runs or not.
        timeout_seconds: What the user allows; None: 20 times the slowest evaluation of the trial,
            but at least 10 minutes; an hour for the first.
    """

    def __init__(
        self,
        *,
        on_hang: Callable[[float], None],
        on_alive: Callable[[], None],
        timeout_seconds: Callable[[], float | None],
    ) -> None:
        self._on_hang = on_hang
        self._on_alive = on_alive
        self._timeout_seconds = timeout_seconds
        self._silent_seconds: float | None = None  # None: no trial runs
        self._slowest: float | None = None
        self._last = 0.0
        self._main = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang-watch", daemon=True)

    def __enter__(self) -> HangWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def begin(self) -> None:
        """A trial begins."""
        self._slowest, self._last = None, time.monotonic()
        self._silent_seconds = 0.0

    def evaluated(self) -> None:
        """It has got on."""
        now = time.monotonic()
        self._slowest = max(self._slowest or 0.0, now - self._last)
        self._last, self._silent_seconds = now, 0.0

    def end(self) -> None:
        """No trial runs any more."""
        self._silent_seconds = None

    @property
    def allowed_seconds(self) -> float:
        """How long the next evaluation may take."""
        timeout = self._timeout_seconds()
        if timeout is not None:
            return timeout
        if self._slowest is None:
            return _FIRST_SECONDS
        return max(_TIMES_SLOWEST * self._slowest, _SHORTEST_SECONDS)

    def stack(self) -> str:
        """Where the thread that made this watch is, as a traceback."""
        frame = sys._current_frames().get(self._main)
        return "" if frame is None else "".join(traceback.format_stack(frame))

    def _run(self) -> None:
        said_at = before = time.monotonic()
        while not self._stop.wait(tick := min(_TICK_SECONDS, self.allowed_seconds / 4)):
            now = time.monotonic()
            # Time in which this process was suspended, or this thread, does not count.
            awake, before = min(now - before, 2 * tick), now
            if now - said_at >= ALIVE_SECONDS:
                self._on_alive()
                said_at = now
            if self._silent_seconds is None:
                continue
            self._silent_seconds += awake
            if self._silent_seconds > self.allowed_seconds:
                try:
                    self._on_hang(self._silent_seconds)
                except Exception as error:
                    logger.warning("a trial hangs and could not be ended: %r", error)
                self._silent_seconds = max(0.0, self.allowed_seconds - 3 * _TICK_SECONDS)


def end_process(line: str) -> None:
    """End this process at once, as it can no longer be asked to; ``line`` says why."""
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()
    os._exit(HUNG_STATUS)
