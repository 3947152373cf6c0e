"""Timing two ways of doing a thing in turn, and writing what was found."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The median of some repeats, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of ``values``."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """``median (low - high)``."""
        low, median, high = (f"{v:,.{digits}f}" for v in (self.low, self.median, self.high))
        return f"{median} ({low} - {high})"


def rates_in_turn(
    cases: Mapping[str, Callable[[], float]], *, repeats: int
) -> dict[str, list[float]]:
    """Units per second of each case, once per repeat.

    The cases take turns inside every repeat, so that whatever else the machine does falls on
    all of them; ratios are to be formed within a repeat. Each case does one unmeasured turn
    first. A case returns the number of units it worked through.
    """
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            units = case()
            if repeat > 0:
                rates[name].append(units / (time.perf_counter() - started))
    return rates


def ratios(rates: Mapping[str, Sequence[float]], ours: str, theirs: str) -> Spread:
    """How many times the rate of ``theirs`` that of ``ours`` is, repeat by repeat."""
    return Spread.of([a / b for a, b in zip(rates[ours], rates[theirs], strict=True)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it reads well as plain text too."""
    table = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    names = [torch.cpu.get_capabilities().get("cpu_name"), platform.processor(), "unknown"]
    return {
        "processor": next(name for name in names if name),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the figures for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
