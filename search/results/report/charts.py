"""The charts of a report: what is drawn, and what each says in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import NullFormatter
from optuna.trial import FrozenTrial, TrialState

from search.objectives import may_be_best
from search.results.report.attempts import is_baseline, thinned, valued
from search.results.report.categories import Category
from search.results.report.drawing import (
    BASELINE,
    BEST,
    COMPLETE,
    INK,
    MUTED,
    PRUNED,
    Chart,
    chart,
)
from search.results.report.facts import Facts
from search.results.report.formats import plural
from search.results.report.leaderboard import Place
from search.spaces import EVALUATIONS_PER_EPOCH

_POINTS, _CURVES, _CATEGORIES = 900, 60, 600
#: Marker, colour and size of each kind of trial, in the order of the legend.
KINDS = {
    "complete": ("o", COMPLETE, 5.0),
    "pruned": ("x", PRUNED, 5.0),
    "baseline": ("^", BASELINE, 7.0),
}
METRIC = "balanced accuracy on validation"


def kind(trial: FrozenTrial) -> str:
    if is_baseline(trial):
        return "baseline"
    return "pruned" if trial.state == TrialState.PRUNED else "complete"


def scatter(axes: Any, points: Sequence[tuple[float, float, str]], *, size: float = 1.0) -> None:
    """Points (x, y, kind): a line of its own for each kind, with an entry in the legend."""
    for name, (marker, colour, marker_size) in KINDS.items():
        these = [(x, y) for x, y, of in points if of == name]
        if these:
            axes.plot(
                *zip(*these, strict=True),
                marker,
                color=colour,
                markersize=marker_size * size,
                markeredgewidth=1.2 if marker == "x" else 0,
                label=name,
                alpha=0.85,
            )


def legend(axes: Any) -> None:
    """Above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    room = axes.figure.get_figwidth() * 72 / 7  # characters
    needed = sum(len(label) + 5 for label in labels)
    axes.figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=len(labels) if needed < room else 2,
        fontsize=11,
        handlelength=1.4,
    )


def history(facts: Facts) -> Chart:
    """Every trial's value, and the best so far."""
    trials = valued(facts.trials)
    bests = _best_so_far(trials)
    shown = [(t.number, t.value or 0.0, kind(t)) for t in thinned(trials, _POINTS)]

    def draw(axes: Any, is_narrow: bool) -> None:
        steps = [*bests, (max(t.number for t in trials), bests[-1][1])]
        axes.plot(
            *zip(*steps, strict=True), color=BEST, drawstyle="steps-post", label="best so far"
        )
        scatter(axes, shown)
        number, value = bests[-1]
        axes.plot(number, value, "*", color=BEST, markersize=13, zorder=5)
        axes.set(xlabel="trial", ylabel="" if is_narrow else METRIC)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.03)
        legend(axes)

    (first, first_value), (last, last_value) = bests[0], bests[-1]
    text = (
        f"Value of each of {plural(len(trials), 'trial')} by number. The best so far rises from "
        f"{first_value:.4f} at trial {first} to {last_value:.4f} at trial {last}"
        f"{'' if len(bests) < 3 else f', in {len(bests) - 1} steps'}."
    )
    return chart(draw, text, height=320, narrow_height=260)


def _best_so_far(trials: Sequence[FrozenTrial]) -> list[tuple[int, float]]:
    """(number, value) of each trial that was the best when it ended."""
    found: list[tuple[int, float]] = []
    for trial in trials:
        value = trial.value or 0.0
        if may_be_best(trial) and (not found or value > found[-1][1]):
            found.append((trial.number, value))
    return found


def curves(facts: Facts) -> Chart | None:
    """The learning curves; None if no trial reported more than one step."""
    found = [t for t in valued(facts.trials) if len(t.intermediate_values) > 1]
    if not found:
        return None
    shown = thinned(found, _CURVES)

    def draw(axes: Any, is_narrow: bool) -> None:
        for name, (_, colour, _) in KINDS.items():
            these = [t for t in shown if kind(t) == name and t.number != facts.best.number]
            for place, trial in enumerate(these):
                label = name if place == 0 else None
                _curve(axes, trial, colour, label, ends_with_mark=name == "pruned")
        if facts.best.intermediate_values:
            _curve(axes, facts.best, BEST, f"best (trial {facts.best.number})", width=2.4)
        axes.set(xlabel="epochs", ylabel="" if is_narrow else METRIC)
        axes.set_xlim(left=0)
        legend(axes)

    part = "" if len(shown) == len(found) else f" ({len(shown):,} of them drawn)"
    text = f"Balanced accuracy over the epochs of {plural(len(found), 'trial')}{part}."
    if pruned := facts.pruning.pruned:
        text += f" Pruned on the way: {pruned:,}; a cross marks where."
    return chart(draw, text, height=340, narrow_height=270)


def _curve(
    axes: Any,
    trial: FrozenTrial,
    colour: str,
    label: str | None,
    *,
    ends_with_mark: bool = False,
    width: float = 1.1,
) -> None:
    epochs = [step / EVALUATIONS_PER_EPOCH for step in sorted(trial.intermediate_values)]
    values = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    axes.plot(epochs, values, color=colour, linewidth=width, label=label, alpha=0.9)
    if ends_with_mark:
        axes.plot(epochs[-1], values[-1], "x", color=colour, markersize=4.5)


def seeds(facts: Facts) -> Chart | None:
    """What each seed gave, and the interval of the mean; None if nothing was repeated."""
    # A baseline that is no leader would take all the width: it is in the table.
    places = [place for place in facts.leaderboard.places if place.spread is not None]
    if not places:
        return None

    def draw(axes: Any, is_narrow: bool) -> None:
        for height, place in enumerate(reversed(places)):
            _spread_row(axes, place, height)
        axes.set_yticks(
            range(len(places)), [f"trial {place.trial.number}" for place in reversed(places)]
        )
        axes.set(ylim=(-0.6, len(places) - 0.4), xlabel=METRIC)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4 if is_narrow else 8)
        legend(axes)

    told = "; ".join(
        f"trial {place.trial.number} {place.spread.mean:.4f}" for place in places if place.spread
    )
    text = f"Means over new seeds, with the values of the single seeds and of the search: {told}."
    return chart(draw, text, height=90 + 42 * len(places))


def _spread_row(axes: Any, place: Place, height: float) -> None:
    spread = place.spread
    assert spread is not None
    labels = (
        ("95% interval of the mean", "one new seed", "in the search")
        if height == 0
        else (None,) * 3
    )
    if spread.low is not None and spread.high is not None:
        axes.plot([spread.low, spread.high], [height] * 2, color=COMPLETE, linewidth=7,
                  alpha=0.35, solid_capstyle="butt", label=labels[0])  # fmt: skip
    values = [repeat.balanced_accuracy for repeat in place.repeats]
    axes.plot(values, [height] * len(values), "o", color=COMPLETE, markersize=5, label=labels[1])
    axes.plot(spread.mean, height, "|", color=INK, markersize=15, markeredgewidth=2)
    axes.plot(place.trial.value, height, "*", color=BEST, markersize=10, label=labels[2])


def category_sizes(found: Sequence[Category]) -> Chart:
    """The recall of each category by its number of titles to learn from."""
    stride = -(-len(found) // _CATEGORIES)
    shown = [(max(c.train_titles, 1), c.recall) for c in found[::stride]]
    small = sorted(found, key=lambda c: c.train_titles)
    half = len(small) // 2
    rare, common = small[:half] or small, small[half:]

    def draw(axes: Any, is_narrow: bool) -> None:
        axes.plot(*zip(*shown, strict=True), "o", color=COMPLETE, markersize=5.5, alpha=0.6,
                  markeredgewidth=0)  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="titles of the category in train", ylim=(-0.03, 1.03))
        axes.set_ylabel("" if is_narrow else "recall on validation", color=MUTED)

    text = (
        f"Recall of {plural(len(found), 'category', 'categories')} by their number of train "
        f"titles. The rarer half of the categories has a mean recall of {_mean_recall(rare):.3f}, "
        f"the more frequent half of {_mean_recall(common):.3f}."
    )
    return chart(draw, text, height=300, narrow_height=250)


def _mean_recall(found: Sequence[Category]) -> float:
    return sum(category.recall for category in found) / len(found)
