"""What samplers see of a study: pruned trials count by the value that they had reached.

Optuna's samplers rank every COMPLETE trial above every PRUNED one (TPE), or pass over the pruned
ones (GP, CMA-ES). That fits studies in which whatever is poor is pruned. Here the baselines are
never pruned, and a pruner lets the first trials of a study through unopposed: TPE would go on
sampling around them, although trials that were pruned late reached far more. Our values are
comparable as they stand, since balanced accuracy rises over a trial: a trial pruned early has a
low one, and seldom deserved a high one. TPE is shown a running trial by the value that it has
reached so far, too: to its constant liar all that runs is equally poor, and several workers would
stay away from what the best of them are at. A trial that was over a limit has the value of an
untrained network: it stays PRUNED, and TPE ranks it behind all others by how far it was over.

Written for Optuna 5.0: samplers read trials through ``Study._get_trials`` and ``get_trials``, and
TPE keeps in ``_search_space`` what all trials have in common.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from search.limits import is_over, once
from search.sampling import EndedTrial


@dataclass
class _Memory:
    """What the samplers of one study, made anew for each trial, need not find out again.

    Attributes:
        shown: By id, the ended trials as they are shown.
        space: The parameters that all trials have.
    """

    shown: dict[int, FrozenTrial] = field(default_factory=dict)
    space: IntersectionSearchSpace = field(
        default_factory=lambda: IntersectionSearchSpace(include_pruned=True)
    )


_MEMORIES: WeakKeyDictionary[Study, _Memory] = WeakKeyDictionary()


class StudyView:
    """A study in which each pruned trial that has a value and was over no limit is COMPLETE with
    it, and no trial has a constraint twice.

    Args:
        reads_once: Show all trials as they stood when the worker's own trial began. TPE would
            read them again for each parameter, to see what others drew in those milliseconds.
        with_running: Trials that run and have a value are COMPLETE, too, in a study with one
            objective.
    """

    def __init__(
        self, study: Study, *, reads_once: bool = False, with_running: bool = False
    ) -> None:
        self._study = study
        self._reads_once = reads_once
        self._with_running = with_running and len(study.directions) == 1
        self._memory = _MEMORIES.setdefault(study, _Memory())
        self._read: list[FrozenTrial] = []
        self._shown: list[FrozenTrial] = []
        #: What TPE found out about the trials as shown now: see ``search/sampling.py``.
        self.splits: dict[Any, Any] = {}

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
        use_cache = use_cache or self._reads_once
        read = self._study._get_trials(deepcopy=False, states=None, use_cache=use_cache)
        if read is not self._read:
            self._read, self._shown, self.splits = read, self._show(read), {}
        shown = [trial for trial in self._shown if states is None or trial.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def _show(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        if len(self._study.directions) > 1:
            # Ended by their time, without values; TPE would compare their curves, and cannot. It
            # ranks those that are over a limit by nothing else.
            trials = [t for t in trials if t.state != TrialState.PRUNED or is_over(t)]
        return [self._as_complete(trial) for trial in trials]

    def _as_complete(self, trial: FrozenTrial) -> FrozenTrial:
        seen = self._memory.shown.get(trial._trial_id)
        if seen is not None:
            return seen
        seen = once(trial)
        if trial.state == TrialState.PRUNED and trial.values is not None and not is_over(seen):
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
        if trial.state.is_finished():
            seen = self._memory.shown[trial._trial_id] = EndedTrial.of(seen)
        return seen


class ViewingSampler(BaseSampler):
    """``sampler``, shown a ``StudyView`` in place of the study."""

    def __init__(self, sampler: BaseSampler, *, with_running: bool = False) -> None:
        self._sampler = sampler
        self._with_running = with_running
        self._last_view: StudyView | None = None

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
        if self._last_view is None or self._last_view._study is not study:
            self._last_view = StudyView(study, reads_once=True, with_running=self._with_running)
            if isinstance(self._sampler, TPESampler):
                self._sampler._search_space = self._last_view._memory.space
        return self._last_view
