"""Predictions as text: for people, as CSV, or as JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from prediction.predictor import Scored

FORMATS = ("text", "csv", "jsonl")


def header(form: str, *, top: int) -> str:
    """What comes before the first prediction; nothing but for CSV."""
    if form != "csv":
        return ""
    names = ["title", "category", "probability"]
    for place in range(2, top + 1):
        names += [f"category_{place}", f"probability_{place}"]
    return ",".join(names) + "\n"


def lines(titles: Sequence[str], scored: Scored, labels: Sequence[str], form: str) -> str:
    """A line, in CSV a record, for each title."""
    categories = [[labels[k] for k in row] for row in scored.categories.tolist()]
    return _FORMATS[form](titles, categories, scored)


def _text(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    found = []
    for title, names, values in zip(
        titles, categories, scored.probabilities.tolist(), strict=True
    ):
        pairs = (f"{name}\t{value:.4f}" for name, value in zip(names, values, strict=True))
        found.append("\t".join((*pairs, _one_line(title))) + "\n")
    return "".join(found)


def _csv(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    text = io.StringIO(newline="")
    # Text in quotes, always: a lone carriage return would else end a record for some readers.
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for title, names, values in zip(titles, categories, _exact(scored), strict=True):
        row: list[str | float] = [title]
        for pair in zip(names, values, strict=True):
            row += pair
        writer.writerow(row)
    return text.getvalue()


def _jsonl(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    found = []
    for title, names, values in zip(titles, categories, _exact(scored), strict=True):
        row = {"title": title, "category": names[0], "probability": values[0]}
        if len(names) > 1:
            row["others"] = [
                {"category": name, "probability": value}
                for name, value in zip(names[1:], values[1:], strict=True)
            ]
        found.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(found)


def _exact(scored: Scored) -> list[list[float]]:
    """The probabilities with the fewest digits that give the same float32 again."""
    return [[float(f"{value:.9g}") for value in row] for row in scored.probabilities.tolist()]


def _one_line(title: str) -> str:
    """What a terminal shows as one line and does not take for a command to it."""
    if title.isprintable():
        return title
    return "".join(c if c.isprintable() else " " for c in title)


_FORMATS = {"text": _text, "csv": _csv, "jsonl": _jsonl}
