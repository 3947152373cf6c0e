"""What ``compare`` prints."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from search.display.console import table
from search.display.summary import describe_params
from search.results.comparison import INTERVAL, LEVEL, TEST, Comparison, Side


def print_comparison(console: Console, a: Side, b: Side, found: Comparison) -> None:
    """The two sides, the pairs, the interval, the test, and the verdict in words."""
    columns = ("", "trial", "model", "in its search", "configuration")
    sides = table("", *columns, right=("in its search",))
    for letter, side in (("A", a), ("B", b)):
        sides.add_row(
            letter,
            Text(side.name),
            side.opened.settings.model,
            f"{side.trial.value:.4f}",
            Text(describe_params(side.trial.params)),
        )
    console.print(sides)
    figures = ("seed", "A", "B", "A - B in points")
    console.print("\nValidation balanced accuracy with seeds that neither search has used")
    pairs = table("", *figures, right=figures)
    for seed, of_a, of_b in found.pairs:
        pairs.add_row(str(seed), f"{of_a:.4f}", f"{of_b:.4f}", f"{100 * (of_a - of_b):+.2f}")
    console.print(pairs)
    low, high = 100 * found.low, 100 * found.high
    lines = (
        "",
        f"A - B: {100 * found.difference:+.2f} points, {1 - LEVEL:.0%} interval {low:+.2f} to "
        f"{high:+.2f} ({INTERVAL})",
        f"{TEST}: p = {found.p_value:.3g}; with {len(found.pairs)} pairs no less than "
        f"{found.least_p_value:.3g}",
        f"Verdict: {found.verdict}",
        "It says how the two differ from training to training on these validation titles, which "
        "both searches have chosen by; other titles are another question.",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False)
