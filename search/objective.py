"""A trial to its value: the one place that trains, reports to the pruner and asks it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from models.checkpoints import DamagedCheckpoint
from models.costs import latency_ms, size_mb
from models.evaluation import evaluate
from models.training import Evaluation, Trainer
from search.checkpoints import CheckpointStore, ForeignCheckpoint
from search.display.names import trial_name
from search.display.progress import Progress
from search.errors import Interrupted, OverLimit
from search.inputs import TrainingData
from search.limits import (
    LATENCY_MS,
    NO_LIMITS,
    PRUNE_REASON,
    SIZE_MB,
    excess_of,
    hold_against,
)
from search.objectives import LATENCY, ONE_OBJECTIVE, SIZE
from search.spaces import SEARCH_SPACES, Task
from search.study import BASELINE_ATTR, NAME_ATTR, START_ATTR
from search.tracking.client import Tracker
from search.workers.attempt import NO_PARAMS, Attempt, params_key

_NEVER_PRUNED = frozenset({BASELINE_ATTR, START_ATTR})


class Objective:
    """Train a trial's configuration; its value is its best validation balanced accuracy.

    With several ``objectives`` their values, in this order; costs are those of the best weights.

    Two kinds of trials are never pruned: baselines, which the others are measured against, and
    good starts, of which the one that rises slowly may be the one that suits the data. Parameters
    in ``fixed_params`` are not searched. A configuration over one of ``limits`` is pruned before
    its first step, whatever it is.

    Once its last step is done, a trial is neither pruned nor stopped: it ends as it was trained.

    Raises, when called: ``optuna.TrialPruned``; ``OverLimit``; ``Interrupted`` when the worker has
    to stop (its checkpoint is on disk then, if that takes it); ``models.Diverged`` when the loss
    is no number; ``Fenced``.
    """

    def __init__(
        self,
        model: str,
        task: Task,
        data: TrainingData,
        *,
        checkpoints: CheckpointStore,
        tracker: Tracker,
        progress: Progress,
        fixed_params: Mapping[str, Any] = NO_PARAMS,
        objectives: Sequence[str] = ONE_OBJECTIVE,
        limits: Mapping[str, float] = NO_LIMITS,
    ) -> None:
        self._costs = objectives[1:]
        self._limits = limits
        self._fixed_params = fixed_params
        self._suggest = SEARCH_SPACES[model]
        self._task = task
        self._data = data
        self._checkpoints = checkpoints
        self._tracker = tracker
        self._progress = progress
        #: Of the trial under way: its balanced accuracy if it ended now.
        self.value: float | None = None
        #: Of the last trial, if it came to its end: with its best weights still in memory.
        self.trainer: Trainer | None = None

    def __call__(self, attempt: Attempt) -> list[float]:
        trial = attempt.trial
        self.value, self.trainer = None, None
        config = attempt.suggest(
            lambda trial: self._suggest(trial, self._task), self._fixed_params
        )
        if NAME_ATTR not in trial.user_attrs:
            attempt.describe({NAME_ATTR: trial_name(trial.params, trial.user_attrs)})
        self._progress.trial_started(trial.number, trial.params)
        self._tracker.trial_started(
            attempt.root, trial.number, params=trial.params, tags=self._tags(attempt)
        )
        trainer = self._data.trainer(config)
        known = self._hold_against_limits(trial, trainer)
        if attempt.attempt > 1 and not self._resume(trainer, attempt):
            trainer = self._data.trainer(config)
        try:
            self._train(trainer, attempt)
        except optuna.TrialPruned:
            self._describe(attempt, trainer)
            raise
        self._describe(attempt, trainer)
        assert trainer.best is not None
        self.value, self.trainer = trainer.best.balanced_accuracy, trainer
        costs = self._measure(trainer, known)
        if costs:
            self._tracker.evaluated(attempt.root, trainer.best.step, costs)
        return [self.value, *costs.values()]

    def _hold_against_limits(self, trial: optuna.Trial, trainer: Trainer) -> dict[str, float]:
        """What was measured of the trial's network, as far as it is limited.

        Neither cost depends on the values of the weights, so none need be trained for that.

        Raises:
            OverLimit: It is over one of the limits.
        """

        def measure(name: str) -> float:
            if name == SIZE_MB:
                return size_mb(trainer.model)
            return latency_ms(trainer.model, trainer.validation)

        costs = hold_against(trial, self._limits, measure)
        if reason := excess_of(costs, self._limits):
            trial.set_user_attr(PRUNE_REASON, reason)
            untrained = evaluate(trainer.model, trainer.validation).balanced_accuracy
            raise OverLimit([untrained, *self._measure(trainer, costs).values()])
        return costs

    def _measure(self, trainer: Trainer, known: Mapping[str, float]) -> dict[str, float]:
        """What the network costs, as far as it is asked for; a latency that is ``known`` stands,
        so that no trial within the limit has a value over it."""
        costs = {}
        for name in self._costs:
            if name == SIZE:
                costs[name] = size_mb(trainer.model)
            elif LATENCY_MS in known:
                costs[name] = known[LATENCY_MS]
            elif name == LATENCY:
                if trainer.best is not None:
                    trainer.model.load_state_dict(trainer.best_state)
                costs[name] = latency_ms(trainer.model, trainer.validation)
        return costs

    def _resume(self, trainer: Trainer, attempt: Attempt) -> bool:
        """Have ``trainer`` go on from the trial's checkpoint, if there is one.

        False if it cannot be loaded, whatever the reason: ``trainer`` may have half of it then.
        """
        if attempt.resume_step == 0:
            if step := self._checkpoints.step(attempt.root):
                self._say_scratch(attempt, f"the study lacks step {step} of its checkpoint")
            return True
        try:
            self._load(trainer, attempt)
            return True
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            if not isinstance(error, (OSError, DamagedCheckpoint, ForeignCheckpoint)):
                reason = f"its checkpoint cannot be loaded ({type(error).__name__}: {reason})"
        self._say_scratch(attempt, reason)
        attempt.start_over()
        return False

    def _say_scratch(self, attempt: Attempt, reason: str) -> None:
        self._progress.message(f"trial {attempt.trial.number} starts from scratch: {reason}")

    def _load(self, trainer: Trainer, attempt: Attempt) -> None:
        trial = attempt.trial
        key = params_key(trial.params)
        state = self._checkpoints.load(attempt.root, attempt.resume_step, configuration=key)
        trainer.load_state_dict(state)
        reported = trial._cached_frozen_trial.intermediate_values
        for evaluation in (*trainer.evaluations, trainer.best):
            if evaluation and reported.get(evaluation.step) != evaluation.balanced_accuracy:
                raise ForeignCheckpoint(
                    f"its checkpoint has {evaluation.balanced_accuracy:.6f} at step "
                    f"{evaluation.step}, the study {reported.get(evaluation.step)}"
                )

    def _train(self, trainer: Trainer, attempt: Attempt) -> None:
        saved_at = time.perf_counter()
        key = params_key(attempt.trial.params)
        for evaluation in trainer.run():
            step, value = evaluation.step, evaluation.balanced_accuracy
            self._tracker.evaluated(attempt.root, step, _metrics(evaluation))
            self._progress.evaluated(
                attempt.trial.number, step, trainer.num_steps, value, epoch=evaluation.epoch
            )
            attempt.report(value, step)
            self.value = value
            if not trainer.is_done and self._is_hopeless(attempt):
                raise optuna.TrialPruned
            stop = attempt.should_stop(is_done=trainer.is_done)
            state = trainer.state_dict()
            if stop or self._checkpoints.is_worth(state, time.perf_counter() - saved_at):
                self._checkpoints.save(attempt.root, state, step, configuration=key)
                saved_at = time.perf_counter()
            if stop:
                raise Interrupted

    def _is_hopeless(self, attempt: Attempt) -> bool:
        return _NEVER_PRUNED.isdisjoint(attempt.trial.user_attrs) and attempt.should_prune()

    def _tags(self, attempt: Attempt) -> dict[str, Any]:
        attributes = attempt.trial.user_attrs
        names = ("worker", NAME_ATTR, BASELINE_ATTR)
        return {name: attributes[name] for name in names if name in attributes}

    def _describe(self, attempt: Attempt, trainer: Trainer) -> None:
        """Write on the trial what its value does not say; impossible once it has ended."""
        best, last = trainer.best, trainer.last
        assert best is not None and last is not None  # a run yields at least one evaluation
        attempt.describe(
            {
                "epochs": last.epoch,
                "best_epoch": best.epoch,
                "accuracy": best.accuracy,
                "loss": best.loss,
                "seconds": round(last.seconds, 3),
            }
        )


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    return {
        "balanced_accuracy": evaluation.balanced_accuracy,
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "train_loss": evaluation.train_loss,
        "epoch": evaluation.epoch,
    }
