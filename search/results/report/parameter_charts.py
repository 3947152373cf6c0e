"""The charts that set a trial's parameters against its value."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search.results.report.attempts import thinned, valued
from search.results.report.charts import kind, scatter
from search.results.report.drawing import (
    BEST,
    INK,
    LEVELS,
    MUTED,
    PAPER,
    Chart,
    chart,
    small_chart,
)
from search.results.report.facts import Facts
from search.results.report.formats import parameter, plural

_SLICES, _POINTS, _FEW = 12, 300, 4
_AXES, _LINES = 8, 150


def varied_parameters(facts: Facts) -> list[str]:
    """Parameters that had more than one value, the most important first; those that only few
    trials have are left out."""
    trials = valued(facts.trials)
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, []).append(value)
    shares = facts.importance.shares
    varied = [n for n, v in values.items() if len(set(v)) > 1 and len(v) * _FEW > len(trials)]
    return sorted(varied, key=lambda name: -shares.get(name, 0.0))


def slices(facts: Facts) -> list[tuple[str, Chart]]:
    """(parameter, chart): each trial's value by the parameter's."""
    trials = valued(facts.trials)
    return [(name, _slice(facts, trials, name)) for name in varied_parameters(facts)[:_SLICES]]


def _slice(facts: Facts, trials: Sequence[FrozenTrial], name: str) -> Chart:
    having = [trial for trial in trials if name in trial.params]
    distribution: Any = having[-1].distributions[name]
    values = [trial.value or 0.0 for trial in trials]
    points = [
        (_position(trial, name), trial.value or 0.0, kind(trial))
        for trial in thinned(having, _POINTS)
    ]

    def draw(axes: Any, is_narrow: bool) -> None:
        if not isinstance(distribution, CategoricalDistribution) and distribution.log:
            _set_log_scale(axes, distribution.low, distribution.high)
        elif isinstance(distribution, IntDistribution):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        scatter(axes, points, size=0.9)
        if name in facts.best.params:
            x = _position(facts.best, name)
            axes.plot(x, facts.best.value, "*", color=BEST, markersize=12, zorder=5)
        if isinstance(distribution, CategoricalDistribution):
            axes.set_xticks(range(len(distribution.choices)), map(str, distribution.choices))
            axes.set_xlim(-0.5, len(distribution.choices) - 0.5)
        margin = 0.05 * (max(values) - min(values)) or 0.05
        axes.set_ylim(min(values) - margin, max(values) + margin)

    best = parameter(facts.best.params.get(name))
    text = f"Value of {plural(len(having), 'trial')} by {name}; best trial: {best}."
    return small_chart(draw, text, height=190)


def _set_log_scale(axes: Any, low: float, high: float) -> None:
    axes.set_xscale("log")
    few_decades = high / low < 1000
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,), numticks=9))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _position(trial: FrozenTrial, name: str) -> float:
    """Where a parameter's value stands on its axis; a category a little beside its place."""
    distribution, value = trial.distributions[name], trial.params[name]
    if isinstance(distribution, CategoricalDistribution):
        place = distribution.to_internal_repr(value)
        return place + random.Random(trial.number).uniform(-0.22, 0.22)
    return float(value)


@dataclass(frozen=True)
class Axis:
    """An axis of the parallel coordinates; ``marks`` are (height from 0 to 1, label)."""

    name: str
    low: float
    high: float
    is_log: bool
    marks: tuple[tuple[float, str], ...]

    def height(self, trial: FrozenTrial) -> float:
        """Where the trial's value stands; NaN, a gap in its line, if it has none."""
        if self.name not in trial.params:
            return math.nan
        value = _position(trial, self.name)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def parallel(facts: Facts) -> Chart | None:
    """All parameters at once: a line for each trial; None if fewer than two parameters vary.

    Upright on a phone, where the axes lie below each other.
    """
    trials = valued(facts.trials)
    values = [trial.value or 0.0 for trial in trials]
    low, high = min(values), max(values)
    names = varied_parameters(facts)
    names = [n for n in names if sum(n in t.params for t in trials) * 2 > len(trials)][:_AXES]
    if len(names) < 2 or low == high:
        return None
    axes_of = [_axis(trials, name) for name in names]
    shown = sorted(thinned(trials, _LINES), key=lambda trial: trial.value or 0.0)
    fifths = np.quantile(values, [0.2, 0.4, 0.6, 0.8])

    def draw(axes: Any, is_narrow: bool) -> None:
        for trial in shown:
            value = trial.value or 0.0
            heights = [axis.height(trial) for axis in axes_of] + [(value - low) / (high - low)]
            stations = list(range(len(heights)))
            is_best = trial.number == facts.best.number
            axes.plot(
                *((heights, stations) if is_narrow else (stations, heights)),
                color=BEST if is_best else LEVELS[int(np.searchsorted(fifths, value))],
                linewidth=2.6 if is_best else 1.0,
                alpha=1.0 if is_best else 0.65,
                zorder=5 if is_best else 2,
            )
        ends = ((0.0, f"{low:.3f}"), (1.0, f"{high:.3f}"))
        value_axis = Axis("balanced accuracy", low, high, False, ends)
        _draw_axes(axes, [*axes_of, value_axis], is_narrow)

    told = ", ".join(f"{name} {parameter(facts.best.params.get(name))}" for name in names)
    text = (
        f"{len(shown):,} of {plural(len(trials), 'trial')} as lines over {len(names)} parameters "
        "and the value; the stronger the colour, the better. "
        f"The best, trial {facts.best.number}: {told}."
    )
    return chart(draw, text, height=360, narrow_height=70 + 58 * (len(names) + 1))


def _axis(trials: Sequence[FrozenTrial], name: str) -> Axis:
    """From the parameter's whole range, whatever part of it was tried."""
    distribution = next(t.distributions[name] for t in reversed(trials) if name in t.params)
    if isinstance(distribution, CategoricalDistribution):
        low, high = -0.3, len(distribution.choices) - 0.7  # room beside the outer places
        marks = [((i - low) / (high - low), str(c)) for i, c in enumerate(distribution.choices)]
        return Axis(name, low, high, False, tuple(marks))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = float(distribution.low), float(distribution.high)
    ends = ((0.0, parameter(distribution.low)), (1.0, parameter(distribution.high)))
    return Axis(name, low, high if high > low else low + 1, distribution.log and high > low, ends)


def _draw_axes(axes: Any, found: Sequence[Axis], is_narrow: bool) -> None:
    """The axes as rules with their marks: upright side by side, or lying one below the other."""
    halo = [withStroke(linewidth=3, foreground=PAPER)]
    for station, axis in enumerate(found):
        (axes.axhline if is_narrow else axes.axvline)(station, color=MUTED, linewidth=1, zorder=3)
        for height, label in axis.marks:
            x, y = (height, station) if is_narrow else (station, height)
            axes.annotate(
                label,
                (x, y),
                xytext=(0, -11) if is_narrow else (5, 0),
                textcoords="offset points",
                ha="center" if is_narrow else "left",
                va="center",
                fontsize=10,
                color=MUTED,
                zorder=6,
                path_effects=halo,
            )
    names = [axis.name.replace("_", "\n" if not is_narrow else " ") for axis in found]
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if is_narrow:
        for station, name in enumerate(names):
            axes.annotate(name, (0, station), xytext=(0, 9), textcoords="offset points",
                          fontsize=11, zorder=6, path_effects=halo)  # fmt: skip
        axes.set(xticks=[], yticks=[], ylim=(len(found) - 0.6, -0.5), xlim=(-0.06, 1.06))
    else:
        axes.set_xticks(range(len(found)), names)
        axes.set(yticks=[], xlim=(-0.2, len(found) - 0.4), ylim=(-0.04, 1.04))
        axes.tick_params(axis="x", length=0, labelcolor=INK)
