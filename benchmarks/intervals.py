"""How often the 95 % intervals of the test figure hold the truth, and how wide they are.

    python -m benchmarks.intervals
    python -m benchmarks.intervals --quick --markdown intervals.md

Categories get a number of test titles and a true recall each; test sets are drawn from these, and
the interval of balanced accuracy is asked whether it holds the mean of the recalls. Beside it is
the bootstrap of the versions up to fc0f401: hits drawn anew with each category's own share. The
width that would do is Student's, had he known the recalls.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import Report, options, verdict
from search.results.intervals import intervals

LEAST = 0.93
_TARGETED = "1 to 90"
_SETS_OF_CATEGORIES = 40
_DRAWS = 400

Integers = NDArray[np.int64]
Rates = NDArray[np.float64]

TITLES: dict[str, Callable[[np.random.Generator, int], Integers]] = {
    _TARGETED: lambda rng, size: rng.integers(1, 91, size),
    "1 to 90, few of most": lambda rng, size: np.exp(rng.uniform(0, np.log(91), size)).astype(int),
    "1": lambda rng, size: np.ones(size, int),
    "2": lambda rng, size: np.full(size, 2),
}
RECALLS: dict[str, Callable[[np.random.Generator, Integers], Rates]] = {
    "0.9": lambda rng, n: np.full(len(n), 0.9),
    "0.99 on average": lambda rng, n: rng.beta(99, 1, len(n)),
    "0.9 on average": lambda rng, n: rng.beta(9, 1, len(n)),
    "0.67 on average": lambda rng, n: rng.beta(2, 1, len(n)),
    "0 to 1": lambda rng, n: rng.uniform(0, 1, len(n)),
    "nearly 0 or 1": lambda rng, n: rng.beta(0.3, 0.3, len(n)),
    "0.1 on average": lambda rng, n: rng.beta(1, 9, len(n)),
    "more of more titles": lambda rng, n: (
        1 / (1 + np.exp(1.5 - np.log(n) - rng.normal(size=len(n))))
    ),
}


@dataclass(frozen=True)
class Found:
    """Of one way: the share of intervals that hold the truth, and their mean width."""

    coverage: float
    width: float


def bootstrap(count: Integers, correct: Integers, rng: np.random.Generator) -> tuple[float, float]:
    """The interval of balanced accuracy as it was up to fc0f401, with fewer draws."""
    hits = rng.binomial(count, correct / count, size=(_DRAWS, len(count)))
    low, high = np.percentile((hits / count).mean(1), (2.5, 97.5)).tolist()
    return low, high


def measure(
    titles: str, recalls: str, *, size: int, test_sets: int, beside: bool = True
) -> tuple[Found, Found, float]:
    """Ours, the bootstrap, and the width that would do, over ``test_sets`` drawn test sets.

    The bootstrap takes most of the time: of many categories it is asked about every tenth, and
    without ``beside`` about none.
    """
    rng = np.random.default_rng(0)
    held, widths, enough = np.zeros(2), np.zeros(2), 0.0
    asked = np.array([0.0, 0.0 if beside else 1.0])
    every = 10 if size > 100 else 1
    for number in range(test_sets):
        if number % max(test_sets // _SETS_OF_CATEGORIES, 1) == 0:
            count = TITLES[titles](rng, size)
            rates = RECALLS[recalls](rng, count)
            error = np.sqrt((rates * (1 - rates) / count).sum()) / size
        correct = rng.binomial(count, rates)
        found = [intervals(count, correct)[0]]
        if beside and number % every == 0:
            found.append(bootstrap(count, correct, rng))
        for way, (low, high) in enumerate(found):
            held[way] += low <= rates.mean() <= high
            widths[way] += high - low
            asked[way] += 1
        enough += 2 * 1.96 * float(error)
    ours, before = (
        Found(float(h), float(w)) for h, w in zip(held / asked, widths / asked, strict=True)
    )
    return ours, before, enough / test_sets


def main() -> None:
    arguments = options(__doc__, quick="300 test sets, 20 categories").parse_args()
    report = Report()
    run(report, arguments)
    report.write(arguments)


def run(report: Report, arguments: argparse.Namespace) -> None:
    """Measure and print a table for each number of categories."""
    test_sets = 300 if arguments.quick else 2000
    rows = report.content["intervals"] = []
    for size in (20,) if arguments.quick else (20, 600):
        table, least = [], 1.0
        for titles in TITLES:
            for recalls in RECALLS:
                ours, before, enough = measure(titles, recalls, size=size, test_sets=test_sets)
                if titles == _TARGETED:
                    least = min(least, ours.coverage)
                shares = [f"{found.coverage:.1%}" for found in (ours, before)]
                sizes = [f"{width:.4f}" for width in (ours.width, before.width, enough)]
                table.append((titles, recalls, *shares, *sizes))
                rows.append([size, titles, recalls, ours.coverage, before.coverage])
        header = ("titles", "recalls", "holds", "bootstrap", "width", "bootstrap", "would do")
        report.table(f"{size} categories, {test_sets:,} test sets a row", header, table)
        target = f"with {_TARGETED} titles, {LEAST:.0%} of the intervals hold the truth"
        report.add(verdict(target, least >= LEAST, f"at least {least:.1%}"))


if __name__ == "__main__":
    main()
