"""95 % intervals of balanced accuracy, the mean of the categories' recalls, and of accuracy.

A category with one test title shows nothing of its own variance, and one whose titles were all
found seems to have none. So each category's variance is drawn towards that of all, as far as they
are alike (beta-binomial, fitted by its moments); and at its ends the interval is Clopper and
Pearson's for as many titles as would make one share as uncertain as the mean is, as in surveys
(Korn and Graubard 1998). "One title" is there the weight of a title of the categories that matter
most, as for weighted rates (Fay and Feuer 1997). ``benchmarks/intervals.py`` measures how often
such intervals hold the truth. The time and memory are those of some vectors of the categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Interval = tuple[float, float]

_TAIL = 0.025
# Of so many found or missed titles' worth: what is taken for granted that categories differ in no
# more than chance. With few titles they may seem to be all or nothing.
_ALIKE = 2.0
_ROUNDS = 3
# So many titles of the categories that matter most weigh as much as all others.
_FEW = 20.0


def intervals(count: NDArray[Any], correct: NDArray[Any]) -> tuple[Interval, Interval]:
    """Of balanced accuracy and of accuracy, over draws of the titles of each category.

    Args:
        count: Titles of each category, (K,); those without titles are left out.
        correct: How many of them were found, (K,).
    """
    known = count > 0
    n, hits = count[known].astype(np.float64), correct[known].astype(np.float64)
    return (
        _interval(np.full(len(n), 1 / len(n)), n, hits),
        _interval(n / n.sum(), n, hits),
    )


def _variances(weights: Vector, n: Vector, hits: Vector) -> Vector:
    """Of a single title's being found, p (1 - p), in each category."""
    rates = hits / n
    mean = (hits.sum() + 0.5) / (n.sum() + 1)
    for _ in range(_ROUNDS):
        strength = _strength(n - 1, n, hits, mean)
        weight = n / (n + strength)
        spare = float(weight.mean())
        mean = (float(weight @ rates) + 0.5 * spare) / (float(weight.sum()) + spare)
    # Small categories matter most, and may be found less often than the large ones, of which
    # most is known. Where there are many, what counts is what these are like.
    share = weights**2 / n
    titles = _effective(share, n)
    mean = (float(share @ rates / share.sum()) * titles + mean * _FEW) / (titles + _FEW)
    several = np.where(n > 1, share, 0)
    if several.any():
        several *= _effective(several, n - 1) / several.sum()
    strength = _strength(several, n, hits, mean)
    found, missed = hits + mean * strength, n - hits + (1 - mean) * strength
    total = found + missed
    return found * missed / (total * (total + 1))


def _effective(share: Vector, n: Vector) -> float:
    """How many titles would tell as much as ``n`` of each category, its part being ``share``."""
    given = share > 0
    return float(share[given].sum() ** 2 / (share[given] ** 2 / n[given]).sum())


def _strength(weight: Vector, n: Vector, hits: Vector, mean: float) -> float:
    """Of the prior, in titles: large where the categories are alike."""
    within = float(weight @ (hits * (n - hits) / (n * np.maximum(n - 1, 1))))
    if_alike = float(weight.sum()) * mean * (1 - mean)
    share = min((within + _ALIKE) / (if_alike + _ALIKE), 1 - 1e-6)
    return share / (1 - share)


def _interval(weights: Vector, n: Vector, hits: Vector) -> Interval:
    from scipy.special import betaincinv

    mean = min(float(weights @ (hits / n)), 1.0)
    parts = weights**2 * _variances(weights, n, hits) / n
    variance = float(parts.sum())
    title = float(parts @ (weights / n)) / variance
    # Away from 0 and 1, where none seem to be uncertain.
    middle = (mean + title / 2) / (1 + title)
    titles = middle * (1 - middle) / variance
    found, missed, one = mean * titles, (1 - mean) * titles, title * titles
    low = float(betaincinv(found, missed + one, _TAIL)) if found > 0 else 0.0
    high = float(betaincinv(found + one, missed, 1 - _TAIL)) if missed > 0 else 1.0
    return low, high
