"""When a worker has to stop its trial, and why: signals, deadlines, what users ask for."""

from __future__ import annotations

import logging
import time

from search.storage.budget import Verdict
from search.storage.control import read_orders
from search.storage.operations import StudyStorage
from search.workers.stop_signal import StopSignal

logger = logging.getLogger(__name__)

# A look costs a millisecond or two, and evaluations of small data come faster than users' orders.
_LOOK_SECONDS = 0.5


class Lookout:
    """Reads a study's orders now and then; while the storage is away, the last ones hold.

    Attributes:
        orders: As last read.
        stops: How often the study had been stopped when this worker came.
    """

    def __init__(self, storage: StudyStorage, study_id: int, stop: StopSignal) -> None:
        self._storage = storage
        self._study_id = study_id
        self._stop = stop
        self.orders = read_orders(storage, study_id)
        self.stops = self.orders.control.stops
        self._looked_at = time.monotonic()

    def look(self, trial_id: int, *, at_once: bool = False) -> None:
        """Read the orders for the study and a trial of it, unless that was done a moment ago."""
        if not at_once and time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        try:
            self.orders = read_orders(self._storage, self._study_id, trial_id, patient=False)
        except Exception as error:
            # Any: the worker's own calls wait for the storage, and tell the user of it.
            logger.debug("orders not read: %r", error)
        self._looked_at = time.monotonic()

    @property
    def reason(self) -> str | None:
        """Why the worker shall stop its trial, in a few words; None if it shall go on."""
        control, left = self.orders.control, self.orders.seconds_left
        if self._stop.count:
            return "interrupted"
        if control.stops > self.stops:
            return Verdict.STOPPED.value
        if control.verdict is not None:
            return control.verdict.value
        if left is not None and time.monotonic() - self._looked_at >= left:
            return Verdict.TIMED_OUT.value
        return None
