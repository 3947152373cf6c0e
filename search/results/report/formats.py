"""Numbers as people read them; – stands for what is not known."""

from __future__ import annotations

from typing import Any

UNKNOWN = "–"


def value(number: float | None) -> str:
    """A balanced accuracy, or a difference of two: 0.7017."""
    return UNKNOWN if number is None else f"{number:.4f}"


def points(difference: float | None) -> str:
    """A difference in percentage points: +32.8 points."""
    return UNKNOWN if difference is None else f"{100 * difference:+.1f} points"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def count(number: int) -> str:
    return f"{number:,}"


def tenths(number: float | None) -> str:
    """Seconds or epochs: 5.3."""
    return UNKNOWN if number is None else f"{number:,.1f}"


def duration(seconds: float) -> str:
    """3.2 s, 45 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def parameter(found: Any) -> str:
    """The value of a hyperparameter."""
    if found is None:
        return "not used"
    return f"{found:.4g}" if isinstance(found, float) else str(found)


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """1 trial, 2 trials."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


FILTERS = {
    "value": value,
    "points": points,
    "percent": percent,
    "count": count,
    "tenths": tenths,
    "duration": duration,
    "parameter": parameter,
}
