"""Samplers and pruners by the names that the command line takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    PartialFixedSampler,
    RandomSampler,
)

from search.sampler_view import ViewingSampler
from search.sampling import FastTPESampler, RetryAwareHyperbandPruner, speed_up_tpe

Grid = Mapping[str, Sequence[Any]]


def _tpe(seed: int, grid: Grid) -> BaseSampler:
    # Optuna 5: multivariate with one objective, and the constant liar that keeps parallel
    # workers apart, are the defaults.
    speed_up_tpe()
    return ViewingSampler(FastTPESampler(seed=seed), with_running=True)


def _gp(seed: int, grid: Grid) -> BaseSampler:
    return ViewingSampler(GPSampler(seed=seed))


def _cmaes(seed: int, grid: Grid) -> BaseSampler:
    # CMA-ES leaves categorical and conditional parameters to its independent sampler, and warns
    # of each of them in each trial.
    return ViewingSampler(CmaEsSampler(seed=seed, warn_independent_sampling=False))


def _random(seed: int, grid: Grid) -> BaseSampler:
    return RandomSampler(seed=seed)


def _grid(seed: int, grid: Grid) -> BaseSampler:
    # A sampler is made for each trial with a seed of its own; the order of the grid's points has
    # to be the same in all of them.
    return GridSampler(grid, seed=0)


def make_sampler(
    name: str, seed: int, *, grid: Grid, fixed_params: Mapping[str, Any]
) -> BaseSampler:
    """The sampler of this name; it leaves ``fixed_params`` out of what it models."""
    sampler = SAMPLERS[name](seed, grid)
    # A grid has the fixed values as its own.
    if not fixed_params or name == "grid":
        return sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(dict(fixed_params), sampler)


SAMPLERS: dict[str, Callable[[int, Grid], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "random": _random,
    "grid": _grid,
}


def first_look(max_steps: int) -> int:
    """The step at which ASHA first looks at a trial: the earliest that lost no search more than
    half a point (docs/pruning.md)."""
    return max(1, max_steps // 5)


def _asha(max_steps: int) -> BasePruner:
    # One bracket of Hyperband (Li et al. 2020, arXiv:1810.05934). No bootstrap_count: it prunes
    # the first trials at every rung, however good they are.
    return SuccessiveHalvingPruner(min_resource=first_look(max_steps), reduction_factor=3)


def _hyperband(max_steps: int) -> BasePruner:
    # An integer maximum: with "auto" each worker would freeze the one it happens to see first.
    return RetryAwareHyperbandPruner(
        min_resource=max(1, max_steps // 20), max_resource=max_steps, reduction_factor=3
    )


def _median(max_steps: int) -> BasePruner:
    return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, max_steps // 20))


def _wilcoxon(max_steps: int) -> BasePruner:
    # Made for values over independent instances. Steps of a learning curve are not independent,
    # so it is asked late, when the curves have settled. Trials of fewer epochs have fewer steps,
    # of which it would warn each time that it is asked.
    warnings.filterwarnings("ignore", "WilcoxonPruner finds steps", UserWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(p_threshold=0.1, n_startup_steps=max(2, max_steps // 3))


def _none(max_steps: int) -> BasePruner:
    return NopPruner()


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "wilcoxon": _wilcoxon,
    "none": _none,
}
