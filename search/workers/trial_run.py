"""A trial that a worker has taken, from its start to its end in the storage."""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from search.errors import (
    Cancelled,
    Fenced,
    Interrupted,
    OverLimit,
    SearchError,
    SearchSpaceExhausted,
    StorageLost,
    StudyDeleted,
)
from search.limits import PRUNE_REASON
from search.redaction import redact
from search.storage.budget import EXHAUSTED
from search.storage.claims import Claim
from search.storage.failures import stop_if_failing
from search.storage.heartbeat import Pulse, give_sign
from search.storage.operations import StudyStorage
from search.storage.retries import resume_at
from search.storage.trial_queue import release
from search.workers.attempt import Attempt, MakeSampler, trial_seed
from search.workers.hang_watch import HangWatch
from search.workers.lookout import Lookout

logger = logging.getLogger(__name__)

Objective = Callable[[Attempt], float | Sequence[float]]

_ERROR_CHARACTERS = 10_000


@dataclass(frozen=True)
class Runner:
    """What the trials of one worker share; see ``run_worker``."""

    study: optuna.Study
    storage: StudyStorage
    objective: Objective
    make_sampler: MakeSampler
    seed: int
    checkpoint_step: Callable[[int], int]
    max_failures: int
    max_failures_in_a_row: int
    on_start: Callable[[Attempt], None]
    pulse: Pulse
    watch: HangWatch
    lookout: Lookout


class TrialRun:
    """One attempt at a trial. ``attempt`` is None until its parameters can be asked for."""

    def __init__(self, runner: Runner, claimed: Claim) -> None:
        self._runner = runner
        self.claimed = claimed
        self.attempt: Attempt | None = None
        self._began = time.monotonic()

    def evaluate(self) -> TrialState:
        """How it ended: COMPLETE, PRUNED; WAITING to be tried again; FAIL, given up; RUNNING, as
        another worker's.

        Raises:
            SearchError, KeyboardInterrupt: The worker cannot go on.
        """
        try:
            self.attempt = attempt = self._start()
            self._runner.on_start(attempt)
            try:
                found = self._runner.objective(attempt)
            except optuna.TrialPruned:
                return self._tell(attempt, None, TrialState.PRUNED)
            except OverLimit as over:
                return self._tell(attempt, over.values, TrialState.PRUNED)
            values = [float(v) for v in (found if isinstance(found, Sequence) else [found])]
            if any(map(math.isnan, values)):
                raise ValueError("the objective returned NaN")
            return self._tell(attempt, values, TrialState.COMPLETE)
        except (Fenced, UpdateFinishedTrialError):
            logger.info("trial %d was given to another worker", self.claimed.number)
            return TrialState.RUNNING
        except (Interrupted, Cancelled):
            return self._hand_on()
        except StorageLost:
            raise
        except (SearchError, KeyboardInterrupt):
            self._hand_on()
            raise
        except SearchSpaceExhausted as error:
            study = self._runner.study
            self._runner.storage.set_study_user_attr(study._study_id, EXHAUSTED, True)
            return self._release(reason=str(error), max_failures=0)
        except Exception as error:
            return self._fail(error)

    def storage_answers(self) -> bool:
        """If not, the trial waits for the storage, as it may, and does not hang."""
        try:
            give_sign(self._runner.storage, self.claimed.trial_id, patient=False)
        except StudyDeleted:
            return True
        except Exception:
            return False
        return True

    def end_hung(self, seconds: float) -> tuple[str, TrialState]:
        """Have another process try it again; why, and what became of it. From another thread."""
        reason = f"no evaluation for {seconds:.0f} s"
        state = self._release(
            reason=reason,
            max_failures=self._runner.max_failures,
            error=redact(self._runner.watch.stack()) + reason,
        )
        self._count_failure(reason)
        return reason, state

    def _start(self) -> Attempt:
        runner, claimed = self._runner, self.claimed

        def sampler(again: int = 0) -> BaseSampler:
            return runner.make_sampler(trial_seed(runner.seed, claimed.configuration, again))

        resume_step = 0
        if claimed.attempt > 1:
            saved = runner.checkpoint_step(claimed.root)
            resume_step = resume_at(runner.storage, claimed.trial_id, saved)
        study = runner.study
        study.sampler = sampler()
        # As Study.ask does: one reading of the study per trial.
        study._thread_local.cached_all_trials = study.get_trials(deepcopy=False)
        return Attempt(
            Trial(study, claimed.trial_id),
            claimed,
            runner.storage,
            resume_step=resume_step,
            make_sampler=sampler,
            should_stop=self._should_stop,
            is_lost=lambda: runner.pulse.has_lost(claimed.trial_id),
            on_report=runner.watch.evaluated,
        )

    def _should_stop(self, is_done: bool) -> bool:
        lookout = self._runner.lookout
        lookout.look(self.claimed.trial_id)
        if lookout.orders.cancelled:
            raise Cancelled
        if is_done:
            return False
        limit = lookout.orders.trial_timeout_seconds
        seconds = self.claimed.seconds_before + time.monotonic() - self._began
        if limit is not None and seconds >= limit:
            assert self.attempt is not None
            reason = f"it ran for {seconds:.0f} s; a trial may for {limit:g} s"
            self.attempt.describe({PRUNE_REASON: reason})
            raise optuna.TrialPruned
        return lookout.reason is not None

    def _tell(self, attempt: Attempt, values: list[float] | None, state: TrialState) -> TrialState:
        """As ``Study.tell`` does, which reads the trial twice besides."""
        study, storage = self._runner.study, self._runner.storage
        trial = attempt.trial._cached_frozen_trial
        if values is None and len(study.directions) == 1:
            # Optuna's convention, by which samplers learn from trials that were pruned.
            step = trial.last_step
            last = math.nan if step is None else trial.intermediate_values[step]
            values = None if math.isnan(last) else [last]
        try:
            study.sampler.after_trial(study, trial, state, values)
        except SearchError:
            raise
        except Exception as error:  # the sampler's own bookkeeping, at its own cost
            logger.warning("after trial %d: %s", trial.number, error)
        storage.set_trial_state_values(self.claimed.trial_id, state, values)
        return state

    def _hand_on(self) -> TrialState:
        reason = self._runner.lookout.reason or "interrupted"
        return self._release(reason=reason, max_failures=None)

    def _fail(self, error: Exception) -> TrialState:
        text = "".join(traceback.format_exception(error))[-_ERROR_CHARACTERS:]
        lines = str(error).splitlines() or [""]
        reason = redact(f"{type(error).__name__}: {lines[0]}")
        state = self._release(
            reason=reason,
            max_failures=self._runner.max_failures if _may_pass(error) else 0,
            error=redact(text),
        )
        # What the failed trial held is held by its traceback's frames.
        error.__traceback__ = None
        gc.collect()
        self._count_failure(reason)
        return state

    def _count_failure(self, reason: str) -> None:
        runner = self._runner
        stop_if_failing(
            runner.storage,
            runner.study._study_id,
            most_in_a_row=runner.max_failures_in_a_row,
            last=reason,
        )

    def _release(
        self, *, reason: str, max_failures: int | None, error: str | None = None
    ) -> TrialState:
        state = release(
            self._runner.storage,
            self.claimed.trial_id,
            reason=reason,
            max_failures=max_failures,
            error=error,
        )
        return state or TrialState.RUNNING


def _may_pass(error: Exception) -> bool:
    """Whether a second attempt may succeed: memory and files, unlike a wrong value."""
    if isinstance(error, (OSError, MemoryError)):
        return True
    # PyTorch, which need not be imported here.
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
