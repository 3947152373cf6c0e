"""Workers that are somewhere else, as the study's storage shows them, told to a display."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.display.progress import Progress
from search.limits import PRUNE_REASON
from search.objectives import trials_by_accuracy
from search.times import seconds_of


class StudyWatch:
    """Tells the display what has happened in the study since the last look.

    Trials that have ended before the first look are not told.
    """

    def __init__(self, study: optuna.Study, progress: Progress, *, max_steps: int) -> None:
        self._study = study
        self._progress = progress
        self._max_steps = max_steps
        # The last step told of each trial that runs.
        self._running: dict[int, int] = {}
        trials = study.get_trials(deepcopy=False)
        self._ended = {trial.number for trial in trials if trial.state.is_finished()}

    def look(self) -> None:
        """Read the study, and tell what is new."""
        trials = trials_by_accuracy(self._study)
        retried = {trial.user_attrs.get("retry_of") for trial in trials}
        for trial in trials:
            if trial.number in self._ended or trial.state == TrialState.WAITING:
                continue
            # No parameters yet: its worker asks the sampler.
            if trial.params or trial.state.is_finished():
                self._tell_course(trial)
            if trial.state.is_finished():
                self._tell_end(trial, is_retried=trial.number in retried)
        counts = Counter(trial.state for trial in trials)
        self._progress.study_state(
            complete=counts[TrialState.COMPLETE],
            pruned=counts[TrialState.PRUNED],
            failed=counts[TrialState.FAIL],
            workers=counts[TrialState.RUNNING],
        )

    def _tell_course(self, trial: FrozenTrial) -> None:
        if trial.number not in self._running:
            self._progress.trial_started(trial.number, trial.params)
            self._running[trial.number] = 0
        step = max(trial.intermediate_values, default=0)
        if step > self._running[trial.number]:
            self._running[trial.number] = step
            value = trial.intermediate_values[step]
            self._progress.evaluated(trial.number, step, self._max_steps, value)

    def _tell_end(self, trial: FrozenTrial, *, is_retried: bool) -> None:
        self._ended.add(trial.number)
        self._running.pop(trial.number, None)
        state = "WAITING" if is_retried else trial.state.name
        self._progress.trial_finished(
            trial.number,
            state,
            trial.value,
            seconds_of(trial),
            reason=trial.user_attrs.get(PRUNE_REASON, ""),
        )
