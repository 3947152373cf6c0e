"""The best trials, trained again with seeds that the search has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from optuna.trial import FrozenTrial

from models.training import Diverged
from search.results.opened import OpenedStudy
from search.results.repeats import (
    Repeat,
    new_seeds,
    repeats,
    seeds_of_choice,
    stored_repeats,
)
from search.results.report.attempts import Row, is_baseline, row

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """A mean of ``count`` values; ``deviation`` and the interval need two of them."""

    count: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Place:
    """A trial of the leaderboard. ``repeats`` are those with new seeds, ordered by seed."""

    rank: int
    trial: Row
    repeats: tuple[Repeat, ...]
    diverged: tuple[int, ...]

    @property
    def spread(self) -> Spread | None:
        return spread([repeat.balanced_accuracy for repeat in self.repeats])


@dataclass(frozen=True)
class Leaderboard:
    """The best trials by their value in the search; the best baseline, which may be one of them.

    ``lead`` is by how much the best beats that baseline, seed by seed: with equal seeds both
    see the titles in the same order. None if there is no other baseline or no common seed.
    """

    places: tuple[Place, ...]
    baseline: Place | None
    lead: Spread | None
    repeat_seconds: float

    @property
    def shown(self) -> tuple[Place, ...]:
        """The places, and the baseline below them if it is none of them."""
        if self.baseline is None or self.baseline in self.places:
            return self.places
        return (*self.places, self.baseline)

    @property
    def steadiest(self) -> Place | None:
        """The place with the best mean over new seeds."""
        known = [(place.spread.mean, place) for place in self.places if place.spread]
        return max(known, key=lambda pair: pair[0])[1] if known else None


def leaderboard(opened: OpenedStudy, *, top: int, seeds: int) -> Leaderboard:
    """Train the best ``top`` trials and the best baseline with ``seeds`` new seeds each.

    What was trained before is read from the study; with ``seeds`` 0 nothing is trained.

    Raises:
        SearchError, DataError: There is no COMPLETE trial, or training is asked for without data.
    """
    assert opened.best is not None
    new = new_seeds(opened.settings.seed + 1, seeds, seeds_of_choice(opened))
    places = tuple(
        _place(opened, trial, rank, new) for rank, trial in enumerate(opened.leaders[:top], 1)
    )
    rival = next((t for t in opened.leaders if is_baseline(t)), None)
    baseline = next((p for p in places if rival and p.trial.number == rival.number), None)
    if rival is not None and baseline is None:
        baseline = _place(opened, rival, opened.leaders.index(rival) + 1, new)
    shown = {p.trial.number: p for p in (*places, *([baseline] if baseline else []))}
    seconds = sum(repeat.seconds for place in shown.values() for repeat in place.repeats)
    return Leaderboard(places, baseline, _lead(places[0], baseline), seconds)


def spread(values: Sequence[float], *, least: float = 0.0) -> Spread | None:
    """Mean, standard deviation, and Student's confidence interval of the mean.

    No value is below ``least`` or above 1, so neither is their mean.
    """
    if not values:
        return None
    middle = mean(values)
    if len(values) == 1:
        return Spread(1, middle, None, None, None)
    from scipy.stats import t

    deviation = stdev(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    low, high = max(middle - half, least), min(middle + half, 1.0)
    return Spread(len(values), middle, deviation, low, high)


def _place(opened: OpenedStudy, trial: FrozenTrial, rank: int, seeds: Sequence[int]) -> Place:
    diverged = []
    for seed in seeds:
        try:
            list(repeats(opened, trial, [seed]))
        except Diverged:
            diverged.append(seed)
    known = stored_repeats(opened, trial)
    for seed in (opened.settings.seed, *seeds_of_choice(opened)):
        known.pop(seed, None)  # its value led to a choice: it flatters
    return Place(rank, row(trial), tuple(known[seed] for seed in sorted(known)), tuple(diverged))


def _lead(best: Place, baseline: Place | None) -> Spread | None:
    if baseline is None or baseline is best:
        return None
    theirs = {repeat.seed: repeat.balanced_accuracy for repeat in baseline.repeats}
    pairs = [r.balanced_accuracy - theirs[r.seed] for r in best.repeats if r.seed in theirs]
    return spread(pairs, least=-1.0)
