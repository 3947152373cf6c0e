"""What samplers see of a study: pruned trials count by the value that they had reached.

Optuna's samplers rank every COMPLETE trial above every PRUNED one (TPE), or pass over the pruned
ones (GP, CMA-ES). That fits studies in which whatever is poor is pruned. Here the baselines are
never pruned, and a pruner lets the first trials of a study through unopposed: TPE would go on
sampling around them, although trials that were pruned late reached far more. Our values are
comparable as they stand, since balanced accuracy rises over a trial: a trial pruned early has a
low one, and seldom deserved a high one. TPE is shown a running trial by the value that it has
reached so far, too: to its constant liar all that runs is equally poor, and several workers would
stay away from what the best of them are at. A trial that was over a limit has no value: it stays
PRUNED, and TPE ranks it behind all others by how far it was over.

Written for Optuna 5.0: samplers read trials through ``Study._get_trials`` and ``get_trials``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.limits import is_over, once


class StudyView:
    """A study in which each pruned trial that has a value is COMPLETE with it, and no trial has a
    constraint twice."""

    def __init__(
        self,
        study: Study,
        seen: dict[int, FrozenTrial] | None = None,
        *,
        with_running: bool = False,
    ) -> None:
        """``seen`` holds, by id, the trials that were shown otherwise before; more are added.

        ``with_running``: trials that run and have a value are COMPLETE, too, in a study with one
        objective.
        """
        self._study = study
        self._seen = {} if seen is None else seen
        self._with_running = with_running and len(study.directions) == 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._get_trials(deepcopy=deepcopy, states=states)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = self._study._get_trials(deepcopy=deepcopy, states=None, use_cache=use_cache)
        if len(self._study.directions) > 1:
            # Ended by their time, without values; TPE would compare their curves, and cannot. It
            # ranks those that are over a limit by nothing else.
            trials = [t for t in trials if t.state != TrialState.PRUNED or is_over(t)]
        shown = map(self._as_complete, trials)
        return [trial for trial in shown if states is None or trial.state in states]

    def _as_complete(self, trial: FrozenTrial) -> FrozenTrial:
        # TPE reads the study once for each of its parameters: a trial is copied once.
        seen = self._seen.get(trial._trial_id)
        if seen is not None:
            return seen
        seen = once(trial)
        if trial.state == TrialState.PRUNED and trial.values is not None:
            seen = copy.copy(seen)
            seen.state = TrialState.COMPLETE
        elif (
            self._with_running
            and trial.state == TrialState.RUNNING
            and trial.last_step is not None
        ):
            seen = copy.copy(seen)
            seen.state = TrialState.COMPLETE
            seen.values = [trial.intermediate_values[trial.last_step]]
        if seen is not trial and trial.state.is_finished():
            self._seen[trial._trial_id] = seen
        return seen


class ViewingSampler(BaseSampler):
    """``sampler``, shown a ``StudyView`` in place of the study."""

    def __init__(self, sampler: BaseSampler, *, with_running: bool = False) -> None:
        self._sampler = sampler
        self._with_running = with_running
        self._seen: dict[int, FrozenTrial] = {}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._sampler.sample_independent(
            self._view(study), trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(self._view(study), trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        with warnings.catch_warnings():
            # CMA-ES warns of each trial that it makes no use of its constraints.
            warnings.filterwarnings("ignore", "Constraints have been set", UserWarning)
            self._sampler.after_trial(self._view(study), trial, state, values)

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

    def _view(self, study: Study) -> Any:
        if isinstance(study, StudyView):
            return study
        return StudyView(study, self._seen, with_running=self._with_running)
