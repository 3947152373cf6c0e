"""Predictions as text: for people, as CSV, or as JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from data_utils.safe_text import for_cell, for_terminal
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
    categories = [[labels[k] for k in column] for column in scored.categories.T.tolist()]
    return _FORMATS[form](titles, categories, scored)


def _text(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    pairs = [
        [f"{for_terminal(name)}\t{value:.4f}" for name, value in zip(names, values, strict=True)]
        for names, values in zip(categories, scored.probabilities.T.tolist(), strict=True)
    ]
    rows = zip(*pairs, map(for_terminal, titles), strict=True)
    return "".join(["\t".join(row) + "\n" for row in rows])


def _csv(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    text = io.StringIO(newline="")
    # Text in quotes, always: a lone carriage return would else end a record for some readers.
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    columns: list[Sequence[str | float]] = [[for_cell(title) for title in titles]]
    for names, values in zip(categories, _exact(scored), strict=True):
        columns += [[for_cell(name) for name in names], values]
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def _jsonl(titles: Sequence[str], categories: list[list[str]], scored: Scored) -> str:
    found = []
    exact = _exact(scored)
    for title, names, values in zip(
        titles, zip(*categories, strict=True), zip(*exact, strict=True), strict=True
    ):
        row = {"title": title, "category": names[0], "probability": values[0]}
        if len(names) > 1:
            row["others"] = [
                {"category": name, "probability": value}
                for name, value in zip(names[1:], values[1:], strict=True)
            ]
        found.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(found)


def _exact(scored: Scored) -> list[list[float]]:
    """The columns of probabilities with so many digits that they give the same float32 again."""
    return [
        [float(f"{value:.9g}") for value in column] for column in scored.probabilities.T.tolist()
    ]


_FORMATS = {"text": _text, "csv": _csv, "jsonl": _jsonl}
