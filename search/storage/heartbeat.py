"""Signs of life: a worker's own, and the trials of those that give none."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.storage.claims import PROCESS
from search.storage.operations import StudyStorage, operation
from search.storage.overrides import SearchStorage
from search.storage.processes import has_ended
from search.storage.rows import beat, clock, lock_study
from search.storage.trial_queue import release

logger = logging.getLogger(__name__)

# A trial's id, its last heartbeat, and the process that has it, as far as they are known.
Running = tuple[int, datetime | None, str | None]


@dataclass
class _OwnTrial:
    """Of one run of a trial: SQLite may give the id of a trial whose row was lost to the next."""

    trial_id: int
    is_lost: bool = False


class Pulse:
    """A thread that beats for the worker's trial and reaps those of dead workers.

    It outlives every error: a worker whose thread has died would be taken for dead itself.
    """

    def __init__(self, storage: StudyStorage, study_id: int, *, max_failures: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._max_failures = max_failures
        self._own: _OwnTrial | None = None
        # On a clock of our own, since when we watch without a gap; and the database's at our last
        # look. A worker that comes trusts the database's at first.
        self._watching_since = -math.inf
        self._last_look: tuple[datetime, float] | None = None
        # On our own clock: when we first saw the last beat of each trial, and of those that were
        # silent, when that was found.
        self._beats: dict[int, tuple[float, datetime]] = {}
        self._suspects: dict[int, tuple[float, datetime]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def beat_for(self, trial_id: int | None) -> None:
        """From now on, the worker runs this trial, or none."""
        self._own = None if trial_id is None else _OwnTrial(trial_id)

    def has_lost(self, trial_id: int) -> bool:
        """Whether the trial was found to be no longer RUNNING. Reads nothing."""
        own = self._own
        return own is not None and own.trial_id == trial_id and own.is_lost

    def _run(self) -> None:
        pause = self._storage.heartbeat_seconds
        while not self._stop.wait(pause):
            pause = self._storage.heartbeat_seconds
            try:
                self._beat()
                self.reap(patient=False)
            except Exception as error:
                # Any: this thread must not end. The worker's own calls tell the user of outages.
                logger.debug("no heartbeat: %r", error)
                pause = min(pause, 1.0)

    def _beat(self) -> None:
        own = self._own
        if own is not None and not give_sign(self._storage, own.trial_id, patient=False):
            own.is_lost = True

    def reap(self, *, patient: bool = True) -> bool:
        """Give the trials of dead workers to others; whether some are only suspected yet.

        A trial is taken away when it was found silent for the grace twice, a heartbeat apart: a
        busy machine may be late with many beats at once. If its process was one of this machine
        and has ended, as it seems, two missing beats are enough.
        """
        now, started, running = look_around(self._storage, self._study_id, patient=patient)
        if any(last is None for _, last, _ in running):
            adopt(self._storage, self._study_id, patient=patient)
        here = time.monotonic()
        self._mind_gaps(now, here)
        known, self._beats = self._beats, {}
        found, self._suspects = self._suspects, {}
        for trial_id, last, process in running:
            if last is None:
                continue
            since = self._beats[trial_id] = _since(known.get(trial_id), last, here)
            silence = self._silence(now, started, last, here - since[0])
            if silence >= 2 * self._storage.heartbeat_seconds and has_ended(process):
                self._release(trial_id, last, reason="its worker's process ended")
            elif silence >= self._storage.grace_seconds:
                suspicion = _since(found.get(trial_id), last, here)
                if here - suspicion[0] < self._storage.heartbeat_seconds:
                    self._suspects[trial_id] = suspicion
                    continue
                grace = self._storage.grace_seconds
                reason = f"its worker gave no sign of life for {grace:g} s"
                self._release(trial_id, last, reason=reason)
        return bool(self._suspects)

    def _silence(self, now: datetime, started: datetime, last: datetime, seen_for: float) -> float:
        """For how many seconds a trial gave no sign, while the database, and we, were there."""
        watched = time.monotonic() - self._watching_since
        if last > now or started > now:
            # The database's clock was set back: what it says of before means nothing.
            return min(seen_for, watched)
        silence, up = (now - last).total_seconds(), (now - started).total_seconds()
        return min(silence, up, watched)

    def _release(self, trial_id: int, last: datetime, *, reason: str) -> None:
        state = release(
            self._storage,
            trial_id,
            reason=reason,
            max_failures=self._max_failures,
            silent_since=last,
        )
        if state is not None:
            logger.info("trial with id %d had lost its worker, now %s", trial_id, state.name)

    def _mind_gaps(self, now: datetime, here: float) -> None:
        # After an outage, or after this process was suspended, all beats look old: the others
        # get time to beat again. A machine that slept is told by the database's clock alone.
        most = 2 * self._storage.heartbeat_seconds + 0.5
        if self._last_look is not None:
            then, there = self._last_look
            if here - there > most or (now - then).total_seconds() > most:
                self._watching_since = here
        self._last_look = now, here


def _since(
    before: tuple[float, datetime] | None, last: datetime, here: float
) -> tuple[float, datetime]:
    """Since when something holds of a beat: from before, if that was of the same one."""
    return before if before is not None and before[1] == last else (here, last)


@operation
def give_sign(storage: SearchStorage, trial_id: int, *, patient: bool = True) -> bool:
    """Say that the trial's worker lives; False if the trial is no longer RUNNING."""

    def work(session: Session, again: bool) -> bool:
        state = models.TrialModel.state
        mine = session.query(state).filter(models.TrialModel.trial_id == trial_id).scalar()
        if mine != TrialState.RUNNING:
            return False
        beat(session.connection(), trial_id)
        return True

    return storage.transaction(work, patient=patient)


@operation
def look_around(
    storage: SearchStorage, study_id: int, *, patient: bool = True
) -> tuple[datetime, datetime, list[Running]]:
    """The database's time, when it was started, and the RUNNING trials with their last heartbeats
    and processes."""
    return storage.transaction(
        lambda session, _: _look(session, study_id), reading=True, patient=patient
    )


def _look(session: Session, study_id: int) -> tuple[datetime, datetime, list[Running]]:
    started = datetime.min
    if session.get_bind().dialect.name != "sqlite":
        query = "SELECT pg_postmaster_start_time() AT TIME ZONE 'UTC'"
        started = session.scalar(sqlalchemy.text(query)) or started
    trial, beats = models.TrialModel, models.TrialHeartbeatModel
    attribute: Any = models.TrialSystemAttributeModel
    is_process = (attribute.trial_id == trial.trial_id) & (attribute.key == PROCESS)
    rows = (
        session.query(trial.trial_id, beats.heartbeat, attribute.value_json)
        .outerjoin(beats, beats.trial_id == trial.trial_id)
        .outerjoin(attribute, is_process)
        .filter(trial.study_id == study_id, trial.state == TrialState.RUNNING)
    )
    running = [(trial_id, last, json.loads(text or "null")) for trial_id, last, text in rows]
    return clock(session), started, running


@operation
def adopt(storage: SearchStorage, study_id: int, *, patient: bool = True) -> None:
    """Give trials that some other tool started a heartbeat, which is to become stale."""

    def work(session: Session, again: bool) -> None:
        lock_study(session, study_id)
        for trial_id, last, _ in _look(session, study_id)[2]:
            if last is None:
                row = models.TrialHeartbeatModel(trial_id=trial_id, heartbeat=clock(session))
                session.add(row)

    storage.transaction(work, patient=patient)
