"""Two configurations against each other by training both again with the same new seeds.

Their trials' own values are no evidence: each was picked because it was high among many, with the
seed of its search. So both are trained with seeds that neither search has used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from models.training import Diverged
from search.errors import SearchError
from search.results.opened import OpenedStudy
from search.results.repeats import Repeat, new_seeds, repeats, seeds_of_choice
from search.study import KEY_ATTR

TEST = "paired sign-flip permutation test, two-sided"
INTERVAL = "Student's t of the paired differences"
LEVEL = 0.05
# All sign patterns are counted, which makes the test exact; from 17 seeds on, so many are drawn.
_MOST_PATTERNS = 2**16
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Side:
    """One of the two: a trial of a study."""

    opened: OpenedStudy
    trial: FrozenTrial

    @property
    def name(self) -> str:
        return f"{self.opened.name}:{self.trial.number}"


@dataclass(frozen=True)
class Comparison:
    """Validation balanced accuracy of A and B, pair by pair, and what the pairs say.

    Attributes:
        difference: Mean of A - B.
        low, high: 95 % confidence interval of the difference.
        p_value: Of the test ``TEST``.
        least_p_value: The smallest that the test can give with so many pairs.
    """

    a: str
    b: str
    repeats_a: tuple[Repeat, ...]
    repeats_b: tuple[Repeat, ...]
    difference: float
    low: float
    high: float
    p_value: float
    least_p_value: float

    @property
    def pairs(self) -> list[tuple[int, float, float]]:
        """Seed, value of A, value of B."""
        both = zip(self.repeats_a, self.repeats_b, strict=True)
        return [(a.seed, a.balanced_accuracy, b.balanced_accuracy) for a, b in both]

    @property
    def verdict(self) -> str:
        """In plain words, and no more than the pairs carry."""
        better, worse = (self.a, self.b) if self.difference >= 0 else (self.b, self.a)
        points = f"{100 * abs(self.difference):.2f} points"
        n = len(self.pairs)
        wins = sum(np.sign(a - b) == np.sign(self.difference) for _, a, b in self.pairs)
        if self.difference == 0 and self.low == self.high:
            return f"{self.a} and {self.b} score the same with every seed"
        if self.p_value <= LEVEL and not self.low <= 0 <= self.high:
            return f"{better} is better than {worse}: by {points} on average of {n} seeds"
        if wins == n and self.least_p_value > LEVEL:
            return (
                f"not decided: {better} was ahead with each of the {n} seeds, by {points} on "
                f"average, but {n} pairs cannot show a difference at the {LEVEL:.0%} level; "
                f"give --seeds {seeds_needed()} or more"
            )
        return (
            f"no difference shown: {better} was ahead with {wins} of {n} seeds, by {points} on "
            "average; the interval says how large a difference may have gone unseen"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "measure": "validation balanced accuracy",
            "repeats_a": [asdict(repeat) for repeat in self.repeats_a],
            "repeats_b": [asdict(repeat) for repeat in self.repeats_b],
            "difference": self.difference,
            "confidence_interval": [self.low, self.high],
            "confidence_level": 1 - LEVEL,
            "interval": INTERVAL,
            "test": TEST,
            "p_value": self.p_value,
            "least_p_value": self.least_p_value,
            "verdict": self.verdict,
        }


def seeds_needed() -> int:
    """The fewest pairs with which the test can come below ``LEVEL``: 2 of 2^n signs are alike."""
    return int(np.ceil(np.log2(2 / LEVEL)))


def compare(a: Side, b: Side, *, num_seeds: int) -> Comparison:
    """Train both with ``num_seeds`` new seeds, as far as that was not done before.

    Raises:
        SearchError: Their values cannot be compared, or they are the same trial.
    """
    check_comparable(a, b, num_seeds=num_seeds)
    # Of neither search, and of no export's choice: for those seeds the trials were picked.
    first = 1 + max(a.opened.settings.seed, b.opened.settings.seed)
    picked_by = seeds_of_choice(a.opened) | seeds_of_choice(b.opened)
    seeds = new_seeds(first, num_seeds, picked_by)
    return compared(a.name, b.name, _repeats(a, seeds), _repeats(b, seeds))


def _repeats(side: Side, seeds: Sequence[int]) -> list[Repeat]:
    try:
        return list(repeats(side.opened, side.trial, seeds))
    except Diverged as error:
        raise SearchError(f"trial {side.name} cannot be repeated: {error}") from None


def check_comparable(a: Side, b: Side, *, num_seeds: int) -> None:
    """Refuse before anything is trained.

    Raises:
        SearchError: One line on what is wrong.
    """
    if num_seeds < FEWEST_SEEDS:
        raise SearchError(f"--seeds {num_seeds}: one training shows no spread; give 2 or more")
    for side in (a, b):
        if side.trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            raise SearchError(
                f"trial {side.name} is {side.trial.state.name}: "
                "compare trials that are COMPLETE or PRUNED"
            )
    ours, theirs = a.opened.settings, b.opened.settings
    if ours.data_fingerprint != theirs.data_fingerprint:
        raise SearchError(
            f"values of {a.name} and {b.name} cannot be compared: the first were measured on "
            f"{ours.data_name} ({ours.data_fingerprint[:12]}), the others on "
            f"{theirs.data_name} ({theirs.data_fingerprint[:12]}); take studies of the same data"
        )
    same_study = a.opened.study.user_attrs[KEY_ATTR] == b.opened.study.user_attrs[KEY_ATTR]
    if same_study and a.trial.number == b.trial.number:
        raise SearchError(f"{a.name} and {b.name} are the same trial: name two different ones")


def compared(
    a: str, b: str, repeats_a: Sequence[Repeat], repeats_b: Sequence[Repeat]
) -> Comparison:
    """What paired repeats say; the pairs share their seeds."""
    from scipy import stats

    values_a = np.array([repeat.balanced_accuracy for repeat in repeats_a])
    values_b = np.array([repeat.balanced_accuracy for repeat in repeats_b])
    differences = values_a - values_b
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    p_value = 1.0
    if np.any(differences):
        test = stats.permutation_test(
            (differences,),
            np.mean,
            permutation_type="samples",
            n_resamples=_MOST_PATTERNS,
            rng=np.random.default_rng(0),
        )
        p_value = float(test.pvalue)
    return Comparison(
        a=a,
        b=b,
        repeats_a=tuple(repeats_a),
        repeats_b=tuple(repeats_b),
        difference=mean,
        low=mean - half,
        high=mean + half,
        p_value=p_value,
        # Of patterns that are drawn, the pairs' own is one more.
        least_p_value=2.0 / 2**n if 2**n <= _MOST_PATTERNS else 2.0 / (_MOST_PATTERNS + 1),
    )
