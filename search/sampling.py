"""The private parts of Optuna's samplers and pruners that are replaced, for Optuna 5.0.

=====================================  ======================================================
``HyperbandPruner._get_bracket_id``    a retried trial stays in its bracket
``Trial.should_prune``                 reads the whole trial for each question
``Trial`` (its private attributes)     a trial that samples and writes nothing
``_truncnorm._log_ndtr``               a Python call for each number: half of TPE's time
``_sampler._split_trials``             ranks all trials of a study for each parameter
``TPESampler._get_internal_repr``      converts all their values for each
=====================================  ======================================================

``tests/unit/search/test_overrides.py`` fails when the source of one of these changes.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe import sampler as _sampler
from optuna.trial import FrozenTrial, Trial


def speed_up_tpe() -> None:
    """Have TPE compute logarithms of normal distribution functions with SciPy, and rank the trials
    once for all parameters of a trial."""
    from scipy.special import log_ndtr

    _truncnorm._log_ndtr = log_ndtr
    _sampler._split_trials = _split_once


_split_trials = _sampler._split_trials
Trials = list[FrozenTrial]


def _split_once(study: Any, trials: Trials, n_below: int) -> tuple[Trials, Trials]:
    # A view of the study shows the same trials throughout; a study does not.
    splits = getattr(study, "splits", None)
    if splits is None:
        return _split_trials(study, trials, n_below)
    key = len(trials), n_below
    if key not in splits:
        splits[key] = _split_trials(study, trials, n_below)
    return splits[key]


class EndedTrial(FrozenTrial):
    """A trial that has ended, as samplers are shown it: TPE asks each the same again and again."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> EndedTrial:
        """``trial`` with its attributes, which nothing may change."""
        ended = cls.__new__(cls)
        vars(ended).update(vars(trial))
        return ended

    @cached_property
    def constraints(self) -> dict[str, float]:
        return super().constraints

    @cached_property
    def internal_params(self) -> dict[str, float]:
        """Its parameters as the numbers that samplers work on."""
        return {n: d.to_internal_repr(self.params[n]) for n, d in self.distributions.items()}


class FastTPESampler(TPESampler):
    """Optuna's TPE, faster where it is shown ``EndedTrial``."""

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Any
    ) -> dict[str, np.ndarray]:
        names = search_space.keys()
        rows = []
        for trial in trials:
            if isinstance(trial, EndedTrial):
                if names <= trial.internal_params.keys():
                    rows.append(trial.internal_params)
            elif names <= (params := self._get_params(trial, study)).keys():
                rows.append({n: d.to_internal_repr(params[n]) for n, d in search_space.items()})
        return {name: np.asarray([row[name] for row in rows]) for name in search_space}


class RetryAwareHyperbandPruner(HyperbandPruner):
    """Hyperband in which a retried trial stays in the bracket of its first attempt.

    Upstream draws the bracket from the trial's number, and a retried trial has a new one.
    """

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        first = copy.copy(trial)
        first.number = trial.user_attrs.get("configuration", trial.number)
        return super()._get_bracket_id(study, first)


class OwnTrial:
    """A RUNNING trial of this process, shown to a pruner without reading it again.

    Nobody else writes its values, and of its system attributes none that pruners look at.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._attributes = dict(trial._cached_frozen_trial.system_attrs)

    def should_prune(self) -> bool:
        """What the study's pruner says of it."""
        shown = copy.copy(self._trial._cached_frozen_trial)
        shown.system_attrs = self._attributes
        study: Any = _PruningStudy(self._trial.study, self._attributes)
        return self._trial.study.pruner.prune(study, shown)


class _PruningStudy:
    """A study that notes which attributes a pruner writes."""

    def __init__(self, study: optuna.Study, written: dict[str, Any]) -> None:
        self._study = study
        self._storage = _NotingStorage(study._storage, written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


class _NotingStorage:
    def __init__(self, storage: Any, written: dict[str, Any]) -> None:
        self._storage = storage
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._storage.set_trial_system_attr(trial_id, key, value)
        self._written[key] = value


class DraftTrial(Trial):
    """Sample what ``trial`` would get from ``sampler``, without writing any of it."""

    def __init__(
        self, trial: Trial, sampler: BaseSampler, fixed: dict[str, Any] | None = None
    ) -> None:
        self.study = trial.study
        self.study.sampler = sampler
        self.storage = _ReadOnly(trial.storage)  # type: ignore[assignment]
        self._trial_id = trial._trial_id
        self._cached_frozen_trial = copy.copy(trial._cached_frozen_trial)
        self._cached_frozen_trial.params = {}
        self._cached_frozen_trial.distributions = {}
        self.relative_search_space = None
        self._relative_params = None
        self._fixed_params = {**trial._fixed_params, **(fixed or {})}


class _ReadOnly:
    """A storage that drops what is written to it."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        if name.startswith("set_"):
            return lambda *args, **kwargs: None
        return getattr(self._storage, name)
