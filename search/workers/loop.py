"""The worker: takes trials of a study one by one, has them evaluated, ends them exactly once."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Set
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from search.errors import Interrupted, PoisonedStudy, SearchError, StudyDeleted
from search.storage.budget import Verdict
from search.storage.claims import Claim
from search.storage.control import control_of
from search.storage.heartbeat import Pulse
from search.storage.identity import fenced
from search.storage.operations import StudyStorage
from search.storage.processes import this_process
from search.storage.trial_queue import claim, claimed_by, release
from search.workers.attempt import Attempt, MakeSampler
from search.workers.hang_watch import HangWatch, end_process
from search.workers.lookout import Lookout
from search.workers.stop_signal import StopSignal
from search.workers.trial_run import Objective, Runner, TrialRun

__all__ = ["Attempt", "Interrupted", "Objective", "WorkerResult", "run_worker"]

# Verdicts that may change, and after how many seconds a worker asks again. Sixty-four workers
# that wait for hours shall not keep the database busy.
_WAITING = {Verdict.WAIT: 0.5, Verdict.PAUSED: 1.0}
_END_HUNG_SECONDS = 30.0


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
    storage: StudyStorage,
    objective: Objective,
    *,
    make_sampler: MakeSampler,
    pruner: BasePruner,
    seed: int,
    points: Set[str] | None = None,
    checkpoint_step: Callable[[int], int] = lambda root: 0,
    max_failures: int = 3,
    max_failures_in_a_row: int = 5,
    on_start: Callable[[Attempt], None] = lambda attempt: None,
    on_end: Callable[[Attempt, TrialState], None] = lambda attempt, state: None,
    on_wait: Callable[[Verdict], None] = lambda verdict: None,
    on_alive: Callable[[], None] = lambda: None,
    on_hang: Callable[[str], None] = end_process,
) -> WorkerResult:
    """Run trials of the study until its budget is used up, its time is over, or a signal comes.

    Any number of workers may do so at once, on any hosts. The budget is the study's
    (``set_budget``): exactly its trials end COMPLETE or PRUNED, whoever dies on the way. A trial
    whose worker died, was interrupted or lacked memory is queued again and goes on from its last
    checkpoint; the trial that it continues stays as FAIL, with ``fail_reason``. What users ask of
    the study (``search.storage.control``) is heeded between two evaluations.

    SIGTERM and the first Ctrl-C make ``Attempt.should_stop`` true; the second Ctrl-C ends the
    objective where it is. In the main thread only.

    Args:
        objective: Returns the trial's value, or one for each objective. May raise
            ``optuna.TrialPruned``, ``Interrupted``, OSError and MemoryError (tried again), any
            other Exception (not tried again).
        make_sampler: Seed -> sampler; called for each trial with a seed drawn from ``seed`` and
            the ordinal of its configuration, so that what is sampled doesn't depend on who asks.
        points: ``params_key`` of each configuration that can be drawn; None: no end of them.
        checkpoint_step: Number of a trial's first attempt -> step of its last checkpoint, 0 if
            there is none.
        max_failures: Failed attempts after which a configuration is given up.
        max_failures_in_a_row: Failed attempts after which the whole study stops.
        on_start: Before a trial's objective.
        on_end: After a trial's end is stored. WAITING: it will be tried again; RUNNING: another
            worker has it; FAIL: given up.
        on_wait: About once a second while there is nothing to do: WAIT or PAUSED.
        on_alive: Every 15 seconds, from another thread.
        on_hang: A trial gave no evaluation for too long; it has been ended, and its objective
            still runs. Called in another thread, with a line for the user; ends the process.

    Raises:
        PoisonedStudy: Too many trials failed, here or elsewhere.
        StorageLost: The storage was out of reach for longer than its ``outage_seconds``.
        SearchError: The study doesn't exist or has no budget.
    """
    with StopSignal() as stop, storage.hurried_by(lambda: stop.count > 0):
        study = _load(study_name, storage, make_sampler(seed), pruner)
        with fenced(storage, study._study_id):
            lookout = Lookout(storage, study._study_id, stop)
            worker = _Worker(
                study, stop, points=points, on_end=on_end, on_wait=on_wait, on_hang=on_hang
            )
            with (
                Pulse(storage, study._study_id, max_failures=max_failures) as pulse,
                HangWatch(
                    on_hang=worker.end_hung,
                    on_alive=on_alive,
                    timeout_seconds=lambda: lookout.orders.hang_timeout_seconds,
                ) as watch,
            ):
                return worker.run(
                    Runner(
                        study=study,
                        storage=storage,
                        objective=objective,
                        make_sampler=make_sampler,
                        seed=seed,
                        checkpoint_step=checkpoint_step,
                        max_failures=max_failures,
                        max_failures_in_a_row=max_failures_in_a_row,
                        on_start=on_start,
                        pulse=pulse,
                        watch=watch,
                        lookout=lookout,
                    )
                )


def _load(
    study_name: str, storage: StudyStorage, sampler: BaseSampler, pruner: BasePruner
) -> optuna.Study:
    try:
        return optuna.load_study(
            study_name=study_name, storage=storage, sampler=sampler, pruner=pruner
        )
    except KeyError:
        raise SearchError(
            f"no study {study_name!r} in {storage.display_url}: check the name, or start it"
        ) from None


class _Worker:
    def __init__(
        self,
        study: optuna.Study,
        stop: StopSignal,
        *,
        points: Set[str] | None,
        on_end: Callable[[Attempt, TrialState], None],
        on_wait: Callable[[Verdict], None],
        on_hang: Callable[[str], None],
    ) -> None:
        self._study = study
        self._stop = stop
        self._points = points
        self._on_end = on_end
        self._on_wait = on_wait
        self._on_hang = on_hang
        self._result = WorkerResult()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._token = ""
        self._run: TrialRun | None = None

    def run(self, runner: Runner) -> WorkerResult:
        # GridSampler stops the study when it is through; outside of optimize that is an error.
        self._study._thread_local.in_optimize_loop = True
        try:
            self._reap(runner)
            claimed: Claim | Verdict | None = None
            while not self._stop.count:
                claimed = self._claim(runner, is_waiting=claimed in _WAITING)
                if isinstance(claimed, Claim):
                    self._run_trial(runner, claimed)
                elif claimed in _WAITING:
                    self._on_wait(claimed)
                    time.sleep(_WAITING[claimed])
                else:
                    self._result.verdict = claimed
                    break
        except KeyboardInterrupt:
            self._let_go(runner.storage)
        if self._result.verdict is Verdict.FAILED:
            control = control_of(runner.storage, self._study._study_id)
            raise PoisonedStudy(control.failure or Verdict.FAILED.value)
        return self._result

    def _reap(self, runner: Runner) -> None:
        # Before the first trial of our own: what dead workers left comes first.
        while runner.pulse.reap() and not self._stop.count:
            time.sleep(min(0.5, runner.storage.heartbeat_seconds / 4))

    def _claim(self, runner: Runner, *, is_waiting: bool) -> Claim | Verdict:
        self._token = uuid.uuid4().hex
        return claim(
            runner.storage,
            self._study._study_id,
            token=self._token,
            worker=self._name,
            process=this_process(),
            stops=runner.lookout.stops,
            points=self._points,
            is_waiting=is_waiting,
        )

    def _let_go(self, storage: StudyStorage) -> None:
        # Ctrl-C may have come between taking a trial and hearing of it.
        trial_id = claimed_by(storage, self._study._study_id, self._token)
        if trial_id is not None:
            release(storage, trial_id, reason="interrupted", max_failures=None)

    def _run_trial(self, runner: Runner, claimed: Claim) -> None:
        runner.pulse.beat_for(claimed.trial_id)
        runner.lookout.look(claimed.trial_id, at_once=True)
        self._run = run = TrialRun(runner, claimed)
        runner.watch.begin()
        try:
            state = run.evaluate()
        finally:
            runner.watch.end()
            self._run = None
            runner.pulse.beat_for(None)
        self._result.count(state)
        if run.attempt is not None:
            self._on_end(run.attempt, state)

    def end_hung(self, seconds: float) -> None:
        """End the trial under way, from another thread, and with it the process."""
        run = self._run
        if run is None or not run.storage_answers():
            return
        # The main thread may hold what the following lines wait for.
        last_resort = threading.Timer(_END_HUNG_SECONDS, self._on_hang, ("a trial hangs",))
        last_resort.daemon = True
        last_resort.start()
        try:
            reason, state = run.end_hung(seconds)
        except StudyDeleted as error:
            self._on_hang(f"a trial hangs, and {error}")
        else:
            if run.attempt is not None:
                self._on_end(run.attempt, state)
            self._on_hang(f"trial {run.claimed.number} was ended: {reason}")
        last_resort.cancel()
