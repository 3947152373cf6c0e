"""The students' experiments and ours side by side: as text and as Markdown."""

from __future__ import annotations

import json
import math
import sys
from io import StringIO
from pathlib import Path

from rich.table import Table

from search.display.console import SafeConsole, console
from search.display.progress import json_able
from search.folders import check_writable, write_text
from search.options import SearchOptions
from search.results.findings import NOISE
from search.results.informe import Informe, Row, run_informe

_COLUMNS = ("experiment", "epochs", "validation", "test", "theirs (test)", "seconds")
_CLAIMS = ("what the figures say", "theirs", "here", "on these data")
_NUMBERS = _COLUMNS[1:]


def show_informe(
    options: SearchOptions,
    models: list[str],
    *,
    prefix: str,
    num_seeds: int,
    format: str,
    to: Path | None,
) -> bool:
    """Run the experiments and write the tables; False if it was interrupted.

    Raises:
        SearchError, DataError: As a search, or the file cannot be written.
    """
    if to is not None:
        check_writable(to)
    informe = run_informe(options, models, prefix=prefix, num_seeds=num_seeds)
    if informe is None:
        print("interrupted: the same command goes on", file=sys.stderr)
        return False
    if format == "json":
        text = json.dumps(json_able(informe.as_json()), indent=2, ensure_ascii=False) + "\n"
    elif format == "md":
        text = as_markdown(informe)
    else:
        text = as_text(informe, width=console().width if to is None else 120)
    if to is None:
        print(text, end="")
    else:
        write_text(to, text)
    return True


def as_text(informe: Informe, *, width: int) -> str:
    """Tables for a terminal of ``width`` columns."""
    stream = StringIO()
    console = SafeConsole(file=stream, width=width, highlight=False)
    for title, columns, rows in _tables(informe):
        table = Table(title=title, title_justify="left", show_lines=columns is _CLAIMS)
        for name in columns:
            table.add_column(name, justify="right" if name in _NUMBERS else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    for line in _notes(informe):
        console.print(f"- {line}")
    return stream.getvalue()


def as_markdown(informe: Informe) -> str:
    """The same for a page."""
    lines = ["# The students' experiments, repeated", ""]
    for title, columns, rows in _tables(informe):
        lines += [f"## {title}", "", _line(columns)]
        lines.append(_line(["--:" if name in _NUMBERS else "---" for name in columns]))
        lines += [*map(_line, rows), ""]
    return "\n".join([*lines, *(f"- {line}" for line in _notes(informe)), ""])


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _tables(informe: Informe) -> list[tuple[str, tuple[str, ...], list[list[str]]]]:
    data = informe.data
    title = f"Balanced accuracy on {data['name']} ({data['categories']} categories)"
    claims = [[f.claim, f.theirs, f.ours, f.verdict] for f in informe.findings]
    return [
        (title, _COLUMNS, [_cells(row) for row in informe.rows]),
        ("Which of their conclusions hold", _CLAIMS, claims),
    ]


def _cells(row: Row) -> list[str]:
    theirs = row.experiment.theirs
    shown = "–"
    if theirs is not None:
        low, high = theirs
        shown = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
    epochs = str(row.experiment.epochs)
    if not row.figures:
        return [row.experiment.name, epochs, "failed", row.problem, shown, "–"]
    test = f"{row.test:.4f}"
    if len(row.figures) > 1:
        test += f" ± {row.test_deviation:.4f}"
    seconds = sum(found.seconds for found in row.figures) / len(row.figures)
    return [row.experiment.name, epochs, f"{row.validation:.4f}", test, shown, f"{seconds:.1f}"]


def _notes(informe: Informe) -> list[str]:
    data, seeds = informe.data, len(informe.seeds)
    one = seeds == 1
    chance = []
    if count := len(informe.unlearnt):
        chance.append(
            f"{count} of {len(informe.rows)} networks have learnt next to nothing here: guessing "
            f"scores {1 / data['categories']:.4f}. Differences between such rows say nothing."
        )
    return [
        *chance,
        "The data differ: theirs were millions of MercadoLibre titles, these are "
        f"{data['train']:,} to train on, {data['validation']:,} for validation and "
        f"{data['test']:,} for the test. Compare differences between rows, not the levels of the "
        "two sides.",
        f"An epoch of 128 a batch is {math.ceil(data['train'] / 128):,} updates here, theirs were "
        "thousands: where figures are low, the networks were not trained for long enough to tell.",
        f"Word vectors here: {data['vectors']}. What freezing costs depends on how good they are.",
        "Training differs a little: the learning rate is constant as theirs was, but the weights "
        "are those of the best of four evaluations an epoch.",
        "The test part is looked at here because their figures are test figures. No search sees "
        "it, and what it gave is kept out of the studies. Choose nothing by this table.",
        f"Each figure is {'one training' if one else f'a mean of {seeds} seeds'}; differences up "
        f"to {100 * NOISE:.0f} point are not called an effect{'; --seeds 3 tells more' * one}.",
        f"Studies: {', '.join(informe.studies)}.",
    ]
