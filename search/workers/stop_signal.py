"""SIGTERM and Ctrl-C, counted."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopSignal:
    """Counts SIGTERM and Ctrl-C while it lasts. The second Ctrl-C interrupts what is running.

    A plain number, no event: a signal may come while the main thread holds an event's lock.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if number == signal.SIGINT and self.count > 1:
            raise KeyboardInterrupt
