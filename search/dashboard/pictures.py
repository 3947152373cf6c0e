"""Two small SVG pictures of a trial.

Written here rather than with a plotting library: that costs a worker a second to import and, where
the home folder cannot be written, a search for fonts at every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from models.training import Evaluation

_SHOWN = 20
_CELL, _TOP = 30, 70
_WIDTH, _HEIGHT, _MARGIN = 400, 250, 55
_COLOURS = ("#1565c0", "#ef6c00")


def confusion_picture(
    truth: NDArray[np.int64], answers: NDArray[np.int64], labels: Sequence[str], *, title: str
) -> str:
    """Of the categories with most errors: the share (%) of each row's titles in each column."""
    size = len(labels)
    errors = np.bincount(truth[truth != answers], minlength=size)
    present = np.flatnonzero(np.bincount(truth, minlength=size))
    worst = present[np.argsort(-errors[present], kind="stable")][:_SHOWN]
    counts = _counts_of(worst, truth, answers, size)
    left = 60 + 7 * max(len(_cut(labels[label])) for label in worst)
    shares = counts / counts.sum(1, keepdims=True)
    # The last column holds what goes to all categories that have none.
    columns = np.column_stack([shares[:, worst], 1 - shares[:, worst].sum(1)])
    parts = [_text(10, 22, title, size=15, weight="bold")]
    subtitle = "% of the validation titles of each category, by what the network answers"
    parts.append(_text(10, 42, subtitle, colour="#555"))
    for place in range(len(worst) + 1):
        x = left + place * _CELL + _CELL / 2
        name = str(place + 1) if place < len(worst) else "other"
        parts.append(_text(x, _TOP - 6, name, anchor="middle", colour="#999"))
    for row, label in enumerate(worst):
        y = _TOP + row * _CELL
        parts.append(_text(left - 32, y + 19, _cut(labels[label]), anchor="end"))
        parts.append(_text(left - 8, y + 19, str(row + 1), anchor="end", colour="#999"))
        for column, share in enumerate(columns[row]):
            parts.append(_cell(left + column * _CELL, y, float(share), right=row == column))
    width = max(left + (len(worst) + 1) * _CELL + 15, 500)
    height = _TOP + len(worst) * _CELL + 15
    return _picture(width, height, parts)


def _counts_of(
    rows: NDArray[np.intp], truth: NDArray[np.int64], answers: NDArray[np.int64], size: int
) -> NDArray[np.intp]:
    """How often each category was taken for each: ``(rows, size)``, of the few that are shown.

    All of them would be ``size`` squared: 3 GB of 20,000 categories.
    """
    place = np.full(size, -1)
    place[rows] = np.arange(len(rows))
    of_rows = np.flatnonzero(place[truth] >= 0)
    codes = place[truth[of_rows]] * size + answers[of_rows]
    return np.bincount(codes, minlength=len(rows) * size).reshape(len(rows), size)


def curve_picture(curve: Sequence[Evaluation], *, title: str) -> str:
    """Accuracies and losses over the epochs."""
    epochs = [point.epoch for point in curve]
    scores = {
        "balanced accuracy": [point.balanced_accuracy for point in curve],
        "accuracy": [point.accuracy for point in curve],
    }
    losses = {
        "validation loss": [point.loss for point in curve],
        "training loss": [point.train_loss for point in curve],
    }
    parts = [_text(10, 22, title, size=15, weight="bold")]
    for place, lines in enumerate((scores, losses)):
        parts += _panel(place * (_WIDTH + _MARGIN) + _MARGIN, 60, epochs, lines)
    return _picture(2 * (_WIDTH + _MARGIN) + 20, _HEIGHT + 110, parts)


def _panel(
    left: float, top: float, epochs: Sequence[float], lines: dict[str, list[float]]
) -> list[str]:
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    room = 0.05 * (high - low or 1.0)
    low, high, last = low - room, high + room, max(epochs)

    def at(epoch: float, value: float) -> tuple[float, float]:
        return left + _WIDTH * epoch / last, top + _HEIGHT * (high - value) / (high - low)

    parts = []
    for tick in np.linspace(low + room, high - room, 5):
        _, y = at(0, float(tick))
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#ddd"/>')
        parts.append(_text(left - 6, y + 4, f"{tick:.2f}", anchor="end", colour="#555"))
    step = max(1, round(last / 5))
    for epoch in range(0, int(last) + 1, step):
        x, _ = at(epoch, low)
        y = top + _HEIGHT + 18
        parts.append(_text(x, y, str(epoch), anchor="middle", colour="#555"))
    bottom = top + _HEIGHT + 38
    parts.append(_text(left + _WIDTH / 2, bottom, "epochs", anchor="middle", colour="#555"))
    for (name, line), colour, place in zip(lines.items(), _COLOURS, (0, 1), strict=True):
        points = [at(*point) for point in zip(epochs, line, strict=True)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(left + place * 160, top - 12, f"● {name}", colour=colour))
    return parts


def _cell(x: float, y: float, share: float, *, right: bool) -> str:
    percent = round(100 * share)
    hue = (21, 101, 192) if right else (198, 40, 40)
    fill = ",".join(str(round(255 + (part - 255) * share**0.6)) for part in hue)
    box = f'<rect x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" fill="rgb({fill})"/>'
    if not percent:
        return box
    colour = "#fff" if share > 0.45 else "#222"
    return box + _text(x + _CELL / 2, y + 19, str(percent), anchor="middle", colour=colour)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    anchor: str = "start",
    colour: str = "#222",
    weight: str = "normal",
) -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _picture(width: float, height: float, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif">'
        '<rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _cut(text: str, length: int = 36) -> str:
    # XML knows no control characters.
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= length else text[: length - 1] + "…"
