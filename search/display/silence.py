"""Breaks the silence of long work: a line from time to time that says what is still going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A reader who has heard nothing for so long wonders whether anything happens.
MOST_SECONDS = 8.0
_LOOK_SECONDS = 1.0


class Silence:
    """How long nothing has been said; while it is watched, ``speak`` is called when it is long.

    Args:
        speak: Says something, or nothing. In another thread, whatever the main thread does.
    """

    def __init__(self, speak: Callable[[], None]) -> None:
        self._speak = speak
        self._since = time.monotonic()
        self._ended = threading.Event()

    def reset(self) -> None:
        """Something was said just now."""
        self._since = time.monotonic()

    def watch(self) -> None:
        """Begin to look, in a thread of its own, until ``end``."""
        threading.Thread(target=self._look, name="silence", daemon=True).start()

    def end(self) -> None:
        """Nothing is called any more, or for a moment at most."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if time.monotonic() - self._since >= MOST_SECONDS:
                self.reset()
                self._speak()
