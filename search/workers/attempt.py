"""What an objective gets: a trial, from which step it goes on, and when to stop."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import product
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GridSampler, RandomSampler
from optuna.trial import FrozenTrial, Trial

from search.errors import Fenced, SearchSpaceExhausted
from search.sampling import DraftTrial, OwnTrial
from search.storage.admission import PARAMS_KEY
from search.storage.claims import Claim
from search.storage.operations import StudyStorage
from search.storage.parameters import write_params
from search.storage.retries import resume_at
from search.storage.user_attributes import write_user_attributes

T = TypeVar("T")
NO_PARAMS: Mapping[str, Any] = MappingProxyType({})
MakeSampler = Callable[[int], BaseSampler]

# How often a sampler may repeat what was tried before one of the remaining points is drawn.
_DRAFTS = 10
_MOST_POINTS = 100_000
_RANDOM_DRAFTS = 100


def trial_seed(seed: int, configuration: int, again: int = 0) -> int:
    """Seed of the sampler that is asked for a configuration: independent of who asks, and when."""
    return int(np.random.SeedSequence((seed, configuration, again)).generate_state(1)[0])


class Attempt:
    """One attempt at a trial.

    In each step report first, then ask ``should_prune``, then ``should_stop``, then save the
    checkpoint: so a checkpoint never holds a step that the study has not got.

    Attributes:
        trial: For attributes; its parameters come from ``suggest``.
        configuration: Ordinal of the configuration in the study, shared by its attempts.
        root: Number of its first attempt: the name of its checkpoint.
        attempt: 1 for the first.
        resume_step: Step that the checkpoint holds, to go on after; 0: from scratch.
    """

    def __init__(
        self,
        trial: Trial,
        claimed: Claim,
        storage: StudyStorage,
        *,
        resume_step: int,
        make_sampler: Callable[[int], BaseSampler],
        should_stop: Callable[[bool], bool],
        is_lost: Callable[[], bool],
        on_report: Callable[[], None],
    ) -> None:
        self.trial = trial
        self.configuration = claimed.configuration
        self.root = claimed.root
        self.attempt = claimed.attempt
        self.resume_step = resume_step
        self._storage = storage
        self._make_sampler = make_sampler
        self._should_stop = should_stop
        self._is_lost = is_lost
        self._on_report = on_report
        self._has_several_objectives = len(trial.study.directions) > 1
        self._inherited: Set[int] = frozenset(trial._cached_frozen_trial.intermediate_values)
        self._own = OwnTrial(trial)

    def suggest(self, define: Callable[[Trial], T], fixed: Mapping[str, Any] = NO_PARAMS) -> T:
        """Return ``define(trial)``, where ``define`` does nothing but call ``trial.suggest_*``.

        The configuration differs from those of all other trials. ``define`` may be called
        several times, at first with a trial that writes nothing. Parameters in ``fixed`` have
        these values where ``define`` asks for them, whatever the sampler or the queue says.

        Raises:
            SearchSpaceExhausted: No configuration is left. To be passed on.
            Fenced: As ``report``.
        """
        trial = self.trial
        if not trial._cached_frozen_trial.params:
            self._choose(define, fixed)
        return define(trial)

    def report(self, value: float, step: int) -> None:
        """Store the value of a step, from 1; steps stored by an earlier attempt are left alone.

        Raises:
            Fenced: The trial was given to another worker. To be passed on, writing nothing more.
        """
        self._check_lost()
        self._on_report()
        if step in self._inherited:
            return
        try:
            if self._has_several_objectives:
                # Trial.report refuses: a pruner couldn't judge by it. Whoever watches the trial
                # or resumes it needs its curve all the same.
                trial = self.trial
                trial.storage.set_trial_intermediate_value(trial._trial_id, step, value)
            else:
                self.trial.report(value, step)
        except UpdateFinishedTrialError:
            raise Fenced from None

    def should_prune(self) -> bool:
        """Whether the pruner gives the trial up, judged by its last reported step.

        With several objectives none does.
        """
        if self._has_several_objectives:
            return False
        try:
            return self._own.should_prune()
        except UpdateFinishedTrialError:
            raise Fenced from None

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Write user attributes on the trial, in one go; impossible once it has ended.

        Raises:
            Fenced: As ``report``.
        """
        write_user_attributes(self._storage, self.trial._trial_id, attributes)
        self.trial._cached_frozen_trial.user_attrs.update(attributes)

    def should_stop(self, *, is_done: bool = False) -> bool:
        """Whether to save a checkpoint and raise ``Interrupted``.

        Never once the last step ``is_done``: nothing is left to stop.

        Raises:
            Cancelled, optuna.TrialPruned: A user ended the trial; it has run for as long as a
                trial may. To be passed on.
            Fenced: As ``report``.
        """
        self._check_lost()
        return self._should_stop(is_done)

    def start_over(self) -> None:
        """Forget what the trial inherited: it starts from scratch. Raises as ``report``."""
        trial = self.trial
        resume_at(self._storage, trial._trial_id, 0)
        trial._cached_frozen_trial = self._storage.get_trial(trial._trial_id)
        self.resume_step, self._inherited, self._own = 0, frozenset(), OwnTrial(trial)

    def _check_lost(self) -> None:
        if self._is_lost():
            raise Fenced

    def _choose(self, define: Callable[[Trial], Any], fixed: Mapping[str, Any]) -> None:
        trials = self.trial.study._get_trials(deepcopy=False, use_cache=True)
        others = [other for other in trials if other.number != self.trial.number]
        taken = {key for other in others if (key := key_of(other)) is not None}
        unfinished = (other._trial_id for other in others if not other.state.is_finished())
        known_to = min(unfinished, default=self.trial._trial_id) - 1
        # Someone asked for this very configuration.
        enqueued = bool(self.trial._fixed_params)
        for draft in self._drafts(define, taken, fixed):
            _check_space(draft.distributions, others)
            key = params_key(draft.params)
            if enqueued:
                self._write(draft, key, known_to=None)
                return
            if key not in taken and self._write(draft, key, known_to=known_to):
                return
            taken.add(key)
        raise SearchSpaceExhausted("every configuration of the search space has been tried")

    def _drafts(
        self, define: Callable[[Trial], Any], taken: set[str], fixed: Mapping[str, Any]
    ) -> Iterator[DraftTrial]:
        """What the sampler proposes; if it only repeats itself, what is left of the space."""

        def draft(sampler: BaseSampler, point: Mapping[str, Any] = NO_PARAMS) -> DraftTrial:
            trial = DraftTrial(self.trial, sampler, {**point, **fixed})
            define(trial)
            return trial

        for again in range(_DRAFTS):
            last = draft(self._make_sampler(again))
            yield last
        sampler = last.study.sampler
        axes = _grid_of(sampler) or _axes(last.distributions, fixed)
        if axes is not None:
            for point in _points(axes, seed=self.configuration):
                if params_key(point) not in taken:
                    yield draft(sampler, point)
        if not isinstance(sampler, GridSampler):
            for seed in range(_RANDOM_DRAFTS):
                yield draft(RandomSampler(seed=trial_seed(seed, self.configuration)))

    def _write(self, draft: DraftTrial, key: str, *, known_to: int | None) -> bool:
        """False if another trial has got the same parameters in the meantime."""
        trial = self.trial
        params, distributions = draft.params, draft.distributions
        twin = write_params(
            self._storage, trial._trial_id, params, distributions, key=key, known_to=known_to
        )
        if twin is not None:
            return False
        trial._cached_frozen_trial.params = params
        trial._cached_frozen_trial.distributions = distributions
        return True


def _check_space(space: Mapping[str, BaseDistribution], others: list[FrozenTrial]) -> None:
    # As Optuna does before it writes a parameter: ValueError if its kind or choices changed.
    for name, distribution in space.items():
        for other in others:
            if name in other.distributions:
                check_distribution_compatibility(other.distributions[name], distribution)
                break


def params_key(params: Mapping[str, Any]) -> str:
    """Equal for equal parameters; a digest, as attributes are short."""
    # 12 digits: two samplers may compute the same point of a grid differently.
    plain = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in params.items()}
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def params_keys(grid: Mapping[str, Sequence[Any]]) -> frozenset[str]:
    """``params_key`` of each point of a grid."""
    return frozenset(
        params_key(dict(zip(grid, point, strict=True))) for point in product(*grid.values())
    )


def key_of(trial: FrozenTrial) -> str | None:
    """``params_key`` of a trial, also of one that waits with all its parameters; else None."""
    if PARAMS_KEY in trial.system_attrs:
        return str(trial.system_attrs[PARAMS_KEY])
    params = trial.params or trial.system_attrs.get("fixed_params")
    return params_key(params) if params else None


def _grid_of(sampler: BaseSampler) -> dict[str, list[Any]] | None:
    return sampler._search_space if isinstance(sampler, GridSampler) else None


def _axes(
    space: Mapping[str, BaseDistribution], fixed: Mapping[str, Any]
) -> dict[str, list[Any]] | None:
    """The values of each parameter; None if they are too many to be tried one by one."""
    axes = {}
    for name, distribution in space.items():
        if name in fixed:
            axes[name] = [fixed[name]]
        elif isinstance(distribution, CategoricalDistribution):
            axes[name] = list(distribution.choices)
        elif isinstance(distribution, IntDistribution):
            axes[name] = list(range(distribution.low, distribution.high + 1, distribution.step))
        elif isinstance(distribution, FloatDistribution) and distribution.step is not None:
            low, step = distribution.low, distribution.step
            size = int((distribution.high - low) / step + 0.5) + 1
            axes[name] = [low + i * step for i in range(size)]
        elif distribution.single():
            axes[name] = [getattr(distribution, "low")]  # noqa: B009
        else:
            return None
    return axes


def _points(axes: Mapping[str, list[Any]], *, seed: int) -> Iterator[dict[str, Any]]:
    """All points of the grid in an order drawn by ``seed``; none if it is too large."""
    size = math.prod(len(values) for values in axes.values())
    if size > _MOST_POINTS:
        return
    for index in random.Random(seed).sample(range(size), size):
        point = {}
        for name, values in axes.items():
            index, position = divmod(index, len(values))
            point[name] = values[position]
        yield point
