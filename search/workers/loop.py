"""The worker: takes trials of a study one by one, has them evaluated, ends them exactly once."""

from __future__ import annotations

import gc
import logging
import math
import os
import socket
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState
from sqlalchemy.orm import Session

from search.errors import (
    Fenced,
    Interrupted,
    PoisonedStudy,
    SearchError,
    SearchSpaceExhausted,
    StorageError,
    StorageLost,
)
from search.storage.budget import EXHAUSTED, Verdict
from search.storage.control import read_orders
from search.storage.heartbeat import Pulse
from search.storage.opening import redact
from search.storage.overrides import SearchStorage, find_claimed, one_line
from search.storage.retries import resume_at
from search.storage.trial_queue import Claim, claim, release
from search.workers.attempt import Attempt, MakeSampler, trial_seed
from search.workers.stop_signal import StopSignal

__all__ = ["Attempt", "Interrupted", "Objective", "WorkerResult", "run_worker"]

logger = logging.getLogger(__name__)

Objective = Callable[[Attempt], float]

_POLL_SECONDS = 0.5
_ERROR_CHARACTERS = 10_000


@dataclass
class WorkerResult:
    """What one worker did.

    Attributes:
        complete, pruned: Trials that count to the budget.
        queued: Trials that were interrupted or failed, and will be tried again.
        failed: Trials that failed for good.
        lost: Trials that were given to another worker while this one slept.
        verdict: Why it ended; None if it was asked to stop.
    """

    complete: int = 0
    pruned: int = 0
    queued: int = 0
    failed: int = 0
    lost: int = 0
    verdict: Verdict | None = None

    def count(self, state: TrialState) -> None:
        """Count a trial by what ``on_end`` is told of it."""
        name = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.WAITING: "queued",
            TrialState.FAIL: "failed",
            TrialState.RUNNING: "lost",
        }[state]
        setattr(self, name, getattr(self, name) + 1)


def run_worker(
    study_name: str,
    storage: SearchStorage,
    objective: Objective,
    *,
    make_sampler: MakeSampler,
    pruner: BasePruner,
    seed: int,
    checkpoint_step: Callable[[int], int] = lambda root: 0,
    max_failures: int = 3,
    max_failures_in_a_row: int = 5,
    on_start: Callable[[Attempt], None] = lambda attempt: None,
    on_end: Callable[[Attempt, TrialState], None] = lambda attempt, state: None,
    on_wait: Callable[[], None] = lambda: None,
) -> WorkerResult:
    """Run trials of the study until its budget is used up, its time is over, or a signal comes.

    Any number of workers may do so at once, on any hosts. The budget is the study's
    (``set_budget``): exactly its trials end COMPLETE or PRUNED, whoever dies on the way. A trial
    whose worker died, was interrupted or lacked memory is queued again and goes on from its last
    checkpoint; the trial that it continues stays as FAIL, with ``fail_reason``.

    SIGTERM and the first Ctrl-C make ``Attempt.should_stop`` true; the second Ctrl-C ends the
    objective where it is. In the main thread only.

    Args:
        objective: Returns the trial's value. May raise ``optuna.TrialPruned``, ``Interrupted``,
            OSError and MemoryError (tried again), any other Exception (not tried again).
        make_sampler: Seed -> sampler; called for each trial with a seed drawn from ``seed`` and
            the ordinal of its configuration, so that what is sampled doesn't depend on who asks.
        checkpoint_step: Number of a trial's first attempt -> step of its last checkpoint, 0 if
            there is none.
        max_failures: Failed attempts after which a configuration is given up.
        max_failures_in_a_row: Failed trials of this worker after which it gives up the study.
        on_start: Before a trial's objective.
        on_end: After a trial's end is stored. WAITING: it will be tried again; RUNNING: another
            worker has it; FAIL: given up.
        on_wait: About twice a second while other workers run the last trials.

    Raises:
        PoisonedStudy: ``max_failures_in_a_row``.
        StorageLost: The storage was out of reach for longer than its ``outage_seconds``.
        SearchError: The study doesn't exist or has no budget.
    """
    with StopSignal() as stop, storage.hurried_by(lambda: stop.count > 0):
        try:
            study = optuna.load_study(
                study_name=study_name, storage=storage, sampler=make_sampler(seed), pruner=pruner
            )
        except KeyError:
            raise SearchError(
                f"no study {study_name!r} in {storage.display_url}: check the name, or start it"
            ) from None
        with Pulse(storage, study._study_id, max_failures=max_failures) as pulse:
            return _Worker(
                study=study,
                storage=storage,
                objective=objective,
                pulse=pulse,
                stop=stop,
                make_sampler=make_sampler,
                seed=seed,
                checkpoint_step=checkpoint_step,
                max_failures=max_failures,
                max_failures_in_a_row=max_failures_in_a_row,
                on_start=on_start,
                on_end=on_end,
                on_wait=on_wait,
            ).run()


@dataclass
class _Worker:
    study: optuna.Study
    storage: SearchStorage
    objective: Objective
    pulse: Pulse
    stop: StopSignal
    make_sampler: MakeSampler
    seed: int
    checkpoint_step: Callable[[int], int]
    max_failures: int
    max_failures_in_a_row: int
    on_start: Callable[[Attempt], None]
    on_end: Callable[[Attempt, TrialState], None]
    on_wait: Callable[[], None]

    def __post_init__(self) -> None:
        self._result = WorkerResult()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._token = ""
        self._failures_in_a_row = 0
        self._last_failure = ""
        self._ends_at: float | None = None  # on our own clock

    def run(self) -> WorkerResult:
        # GridSampler stops the study when it is through; outside of optimize that is an error.
        self.study._thread_local.in_optimize_loop = True
        try:
            # Before the first trial of our own: what dead workers left comes first.
            self.pulse.reap()
            while not self.stop.count:
                claimed = self._claim()
                if isinstance(claimed, Claim):
                    self._run_trial(claimed)
                elif claimed is Verdict.WAIT:
                    self.on_wait()
                    time.sleep(_POLL_SECONDS)
                else:
                    self._result.verdict = claimed
                    break
        except KeyboardInterrupt:
            self._let_go()
        except StorageInternalError as error:
            raise StorageError(f"storage {self.storage.display_url}: {one_line(error)}") from None
        return self._result

    def _claim(self) -> Claim | Verdict:
        study_id = self.study._study_id
        left = read_orders(self.storage, study_id).seconds_left
        self._ends_at = None if left is None else time.monotonic() + left
        self._token = uuid.uuid4().hex
        return claim(self.storage, study_id, token=self._token, worker=self._name)

    def _let_go(self) -> None:
        # Ctrl-C may have come between taking a trial and hearing of it.
        def find(session: Session, again: bool) -> int | None:
            return find_claimed(session, self.study._study_id, self._token)

        trial_id = self.storage.transaction(find, reading=True)
        if trial_id is not None:
            release(self.storage, trial_id, reason="interrupted", max_failures=None)

    def _run_trial(self, claimed: Claim) -> None:
        self.pulse.beat_for(claimed.trial_id)
        try:
            attempt, state = self._evaluate(claimed)
        finally:
            self.pulse.beat_for(None)
        self._result.count(state)
        if attempt is not None:
            self.on_end(attempt, state)
        if self._failures_in_a_row >= self.max_failures_in_a_row:
            raise PoisonedStudy(
                f"{self._failures_in_a_row} trials failed in a row, the last with "
                f"{self._last_failure!r}: mend the cause, then run the same command"
            )

    def _evaluate(self, claimed: Claim) -> tuple[Attempt | None, TrialState]:
        attempt = None
        try:
            attempt = self._start(claimed)
            self.on_start(attempt)
            try:
                value = float(self.objective(attempt))
            except optuna.TrialPruned:
                return attempt, self._tell(attempt, None, TrialState.PRUNED)
            if math.isnan(value):
                raise ValueError("the objective returned NaN")
            return attempt, self._tell(attempt, value, TrialState.COMPLETE)
        except (Fenced, UpdateFinishedTrialError):
            logger.info("trial %d was given to another worker", claimed.number)
            return attempt, TrialState.RUNNING
        except (Interrupted, SearchError, StorageInternalError, KeyboardInterrupt) as error:
            return attempt, self._hand_on(claimed, error)
        except SearchSpaceExhausted as error:
            self.storage.set_study_user_attr(self.study._study_id, EXHAUSTED, True)
            return None, self._release(claimed, reason=str(error), max_failures=0)
        except Exception as error:
            return attempt, self._fail(claimed, error)

    def _start(self, claimed: Claim) -> Attempt:
        def sampler(again: int = 0) -> BaseSampler:
            return self.make_sampler(trial_seed(self.seed, claimed.configuration, again))

        resume_step = 0
        if claimed.attempt > 1:
            resume_step = self.checkpoint_step(claimed.root)
            resume_at(self.storage, claimed.trial_id, resume_step)
        study = self.study
        study.sampler = sampler()
        # As Study.ask does: one reading of the study per trial.
        study._thread_local.cached_all_trials = study.get_trials(deepcopy=False)
        return Attempt(
            Trial(study, claimed.trial_id),
            claimed,
            self.storage,
            resume_step=resume_step,
            make_sampler=sampler,
            should_stop=self._should_stop,
            is_lost=lambda: self.pulse.has_lost(claimed.trial_id),
        )

    def _time_is_over(self) -> bool:
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def _should_stop(self) -> bool:
        return self.stop.count > 0 or self._time_is_over()

    def _tell(self, attempt: Attempt, value: float | None, state: TrialState) -> TrialState:
        try:
            self.study.tell(attempt.trial, value, state=state)
        except (SearchError, StorageInternalError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            stored = self.storage.get_trial(attempt.trial._trial_id).state
            if stored == TrialState.FAIL:  # reaped before tell looked
                raise Fenced from None
            if stored != state:
                raise
            # The sampler's own bookkeeping failed after the trial was stored.
            logger.warning("after trial %d: %s", attempt.trial.number, error)
        self._failures_in_a_row = 0
        return state

    def _hand_on(self, claimed: Claim, error: BaseException) -> TrialState:
        if isinstance(error, StorageLost):
            raise error
        reason = "the time was over" if self._time_is_over() else "interrupted"
        state = self._release(claimed, reason=reason, max_failures=None)
        if not isinstance(error, Interrupted):
            raise error
        return state

    def _fail(self, claimed: Claim, error: Exception) -> TrialState:
        text = "".join(traceback.format_exception(error))[-_ERROR_CHARACTERS:]
        lines = str(error).splitlines() or [""]
        self._last_failure = redact(f"{type(error).__name__}: {lines[0]}")
        self._failures_in_a_row += 1
        state = self._release(
            claimed,
            reason=self._last_failure,
            max_failures=self.max_failures if _may_pass(error) else 0,
            error=redact(text),
        )
        # What the failed trial held is held by its traceback's frames.
        error.__traceback__ = None
        gc.collect()
        return state

    def _release(
        self, claimed: Claim, *, reason: str, max_failures: int | None, error: str | None = None
    ) -> TrialState:
        state = release(
            self.storage, claimed.trial_id, reason=reason, max_failures=max_failures, error=error
        )
        return state or TrialState.RUNNING


def _may_pass(error: Exception) -> bool:
    """Whether a second attempt may succeed: memory and files, unlike a wrong value."""
    if isinstance(error, (OSError, MemoryError)):
        return True
    # PyTorch, which need not be imported here.
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
