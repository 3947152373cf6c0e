"""Validation figures over time as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#555555")


def plot_curves(
    data: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], path: Path, *, seconds: float
) -> None:
    """A panel for each data set: the best validation figure so far of every method and seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(data), 4), layout="constrained")
    panels = figure.subplots(1, len(data), squeeze=False)[0]
    for panel, (name, methods) in zip(panels, data.items(), strict=True):
        for colour, (method, runs) in zip(COLOURS, methods.items(), strict=False):
            for number, run in enumerate(runs):
                if not run["curve"]:
                    continue
                times, values = zip(*run["curve"], strict=True)
                end = max(seconds, times[-1])
                panel.step(
                    [*times, end],
                    [*values, values[-1]],
                    where="post",
                    color=colour,
                    marker="o",
                    markersize=3,
                    label=None if number else method,
                )
        panel.set_title(name)
        panel.set_xlabel("seconds")
        panel.set_ylabel("best validation balanced accuracy")
        panel.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
