"""The Pareto front of a study with several objectives, as a table and charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.objectives import METRIC_NAMES, by_accuracy, leaders
from search.results.opened import OpenedStudy
from search.results.report.attempts import Row, row
from search.results.report.drawing import BEST, COMPLETE, Chart, chart
from search.results.report.formats import plural

_POINTS, _TOLD = 900, 10


@dataclass(frozen=True)
class Pareto:
    """The front, and what it stands out from.

    Attributes:
        metrics: What the values are, balanced accuracy first.
        front: Each trial of the front and its values, the greatest balanced accuracy first.
        others: The values of the other COMPLETE trials within the limits.
    """

    metrics: tuple[str, ...]
    front: tuple[tuple[Row, tuple[float, ...]], ...]
    others: tuple[tuple[float, ...], ...]

    @property
    def text(self) -> str:
        total = len(self.front) + len(self.others)
        first, values = self.front[0]
        named = ", ".join(
            f"{name} {value:.4g}" for name, value in zip(self.metrics, values, strict=True)
        )
        return (
            f"Of {plural(total, 'complete trial')} {len(self.front)} are beaten by no other in "
            f"everything: the Pareto front. Where this report speaks of the best trial, it is the "
            f"one of the front with the greatest balanced accuracy: trial {first.number}, with "
            f"{named}."
        )


def pareto(opened: OpenedStudy) -> Pareto | None:
    """None if the study has one objective."""
    front = opened.front
    if not front:
        return None
    numbers = {trial.number for trial in front}
    found = leaders(opened.study.get_trials(deepcopy=False))
    return Pareto(
        metrics=tuple(METRIC_NAMES[name] for name in opened.settings.objectives),
        front=tuple((row(by_accuracy(trial)), tuple(trial.values)) for trial in front),
        others=tuple(tuple(t.values) for t in found if t.number not in numbers),
    )


def pareto_charts(found: Pareto | None) -> list[Chart]:
    """Balanced accuracy by each of the costs."""
    if found is None:
        return []
    return [_chart(found, place) for place in range(1, len(found.metrics))]


def _chart(found: Pareto, place: int) -> Chart:
    stride = max(-(-len(found.others) // _POINTS), 1)
    others = [(values[place], values[0]) for values in found.others[::stride]]
    front = sorted((values[place], values[0]) for _, values in found.front)

    def draw(axes: Any, is_narrow: bool) -> None:
        if others:
            axes.plot(
                *zip(*others, strict=True), "o", color=COMPLETE, alpha=0.6, markeredgewidth=0
            )
        # With a third objective the front is no line in this plane.
        line = "-" if len(found.metrics) == 2 else ""
        axes.plot(
            *zip(*front, strict=True),
            f"*{line}",
            color=BEST,
            markersize=12,
            linewidth=1.2,
            drawstyle="steps-post",
            zorder=5,
        )
        axes.set(xlabel=found.metrics[place], ylabel="" if is_narrow else found.metrics[0])

    told = "; ".join(f"{accuracy:.4f} at {cost:.4g}" for cost, accuracy in front)
    told = f": {told}" if len(front) <= _TOLD else ""
    text = f"Balanced accuracy by {found.metrics[place]}; stars are the Pareto front{told}."
    return chart(draw, text, height=300, narrow_height=250)
