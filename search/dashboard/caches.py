"""What optuna-dashboard 0.21 keeps of studies between requests, mended.

It keeps by the study's id, which SQLite gives again after a deletion: the page of a new study
would list the parameters and importances of the old one. And it takes a trial without parameters
for one that rules every parameter out: a WAITING trial leaves the parallel coordinates empty.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from optuna_dashboard import _importance as importance  # type: ignore[import-untyped]
from optuna_dashboard._inmemory_cache import (  # type: ignore[import-untyped]
    InMemoryCache,
    _CachedExtraStudyProperty,
)

from search.storage.operations import StudyStorage
from search.study import KEY_ATTR

_Space = set[tuple[str, BaseDistribution]]


class StudyCaches:
    """Forgets what is kept by the id of a study when that is another study's.

    Args:
        kept: optuna-dashboard's own, of one application.
    """

    def __init__(self, storage: StudyStorage, kept: InMemoryCache) -> None:
        self._storage = storage
        self._kept = kept
        self._studies: dict[int, object] = {}
        self._lock = threading.Lock()

    def check(self, study_id: int) -> None:
        """To be called before each answer about the study."""
        study = self._identity(study_id)
        with self._lock:
            if study_id not in self._studies or self._studies[study_id] != study:
                self._forget(study_id)
                self._studies[study_id] = study

    def _identity(self, study_id: int) -> object:
        """What no two studies share; None if there is no such study."""
        storage = self._storage
        try:
            if key := storage.get_study_user_attrs(study_id).get(KEY_ATTR):
                return key
            name = storage.get_study_name_from_id(study_id)
        except KeyError:
            return None
        # Of another program. Optuna stores no time of a study's own.
        try:
            first = storage.get_trial_id_from_study_id_trial_number(study_id, 0)
            return name, storage.get_trial(first).datetime_start
        except KeyError:
            return name, None

    def _forget(self, study_id: int) -> None:
        kept = self._kept
        with kept._cached_extra_study_property_cache_lock:
            kept._cached_extra_study_property_cache[study_id] = _StudySpace()
        with kept._trials_cache_lock:
            kept._trials_cache.pop(study_id, None)
            kept._trials_last_fetched_at.pop(study_id, None)
        with importance.param_importance_cache_lock:
            known = importance.param_importance_cache
            for name in [name for name in known if name.startswith(f"{study_id}:")]:
                del known[name]


class _StudySpace(_CachedExtraStudyProperty):  # type: ignore[misc]
    """The parameters of a study's trials, and those that all trials with parameters have."""

    def __init__(self) -> None:
        super().__init__()
        self._settled: tuple[_Space, _Space | None] = (set(), None)

    def update(self, trials: list[FrozenTrial]) -> None:
        # A trial that runs may yet ask for more parameters: it counts as it stands now.
        self._union_search_space, self._intersection_search_space = self._settled
        super().update(trials)
        self._settled = (self._union_search_space, self._intersection_search_space)
        for trial in trials:
            if trial.distributions and not trial.state.is_finished():
                super()._update_search_space(trial)

    def _update_search_space(self, trial: FrozenTrial) -> None:
        if trial.distributions and trial.state.is_finished():
            super()._update_search_space(trial)

    @property
    def intersection_search_space(self) -> list[tuple[str, BaseDistribution]]:
        return _in_order(super().intersection_search_space)

    @property
    def union_search_space(self) -> list[tuple[str, BaseDistribution]]:
        return _in_order(super().union_search_space)


def _in_order(
    space: Iterable[tuple[str, BaseDistribution]],
) -> list[tuple[str, BaseDistribution]]:
    """The choices sorted: upstream has them in the order of a set, at each start another."""

    def key(choice: Any) -> tuple[str, Any]:
        return type(choice).__name__, choice

    return [
        (name, CategoricalDistribution(sorted(found.choices, key=key)))
        if isinstance(found, CategoricalDistribution)
        else (name, found)
        for name, found in space
    ]
