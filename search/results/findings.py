"""What the students' figures say, and whether ours say it too: each computed from the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from search.results.students import Experiment

# Another seed alone moves a figure by about this much: what is less is not called an effect.
NOISE = 0.01

Ours = Callable[[Experiment], float]
Pair = tuple[Experiment, Experiment]
Claim = tuple[str, list[Pair]]


@dataclass(frozen=True)
class Finding:
    """That the first of some pairs of experiments scores higher than the second.

    Attributes:
        claim: In words.
        theirs: The differences in their records.
        ours: The same differences here.
        verdict: Whether it holds here; ``new: …`` where their records have no figures.
    """

    claim: str
    theirs: str
    ours: str
    verdict: str


def findings(done: Sequence[Experiment], ours: Ours) -> list[Finding]:
    """All that the experiments in ``done`` can say; ``ours`` is our figure of each."""
    mlps = [found for found in done if found.model == "mlp"]
    cnns = [found for found in done if found.model == "cnn"]
    claims = [*_of_mlps(mlps), *_of_both(mlps, cnns), *_of_cnns(cnns)]
    return [_finding(claim, pairs, ours) for claim, pairs in claims if pairs]


def _of_mlps(mlps: Sequence[Experiment]) -> Iterator[Claim]:
    for dropout in (0.3, 0.7):
        yield (
            f"MLP, dropout {dropout}: training the word vectors beats freezing them",
            _pairs(
                _with(mlps, dropout=dropout),
                {"freeze_embeddings": False},
                {"freeze_embeddings": True},
            ),
        )
    yield "MLP: dropout 0.3 beats dropout 0.7", _pairs(mlps, {"dropout": 0.3}, {"dropout": 0.7})
    yield (
        "MLP, dropout 0.3: batches of 256 beat batches of 128",
        _pairs(_with(mlps, dropout=0.3), {"batch_size": 256}, {"batch_size": 128}),
    )


def _of_both(mlps: Sequence[Experiment], cnns: Sequence[Experiment]) -> Iterator[Claim]:
    """The CNN of their record beside the MLPs of as many epochs."""
    longest = max((cnn.epochs for cnn in cnns), default=0)
    usual = [cnn for cnn in _with(cnns, num_filters=100) if cnn.epochs == min(5, longest)]
    frozen = _with(mlps, dropout=0.3, freeze_embeddings=True)
    trained = _with(mlps, dropout=0.3, freeze_embeddings=False)
    yield (
        "Vectors frozen, dropout 0.3: the CNN beats the MLP",
        [(cnn, mlp) for cnn in usual for mlp in frozen],
    )
    yield (
        "Dropout 0.3: the MLP with trained vectors beats the CNN with frozen ones",
        [(mlp, cnn) for cnn in usual for mlp in trained],
    )


def _of_cnns(cnns: Sequence[Experiment]) -> Iterator[Claim]:
    yield (
        "CNN: 100 filters of [2,3,4] beat 200 filters of [4,6,7]",
        _pairs(
            cnns,
            {"num_filters": 100, "filter_lengths": "2,3,4"},
            {"num_filters": 200, "filter_lengths": "4,6,7"},
        ),
    )
    lengths = sorted({cnn.epochs for cnn in cnns})
    if len(lengths) > 1:
        yield (
            f"CNN: {lengths[-1]} epochs beat {lengths[0]}",
            _pairs(cnns, {"num_epochs": lengths[-1]}, {"num_epochs": lengths[0]}),
        )


def _with(found: Sequence[Experiment], **values: Any) -> list[Experiment]:
    return [one for one in found if all(one.params[k] == v for k, v in values.items())]


def _pairs(
    found: Sequence[Experiment], better: dict[str, Any], worse: dict[str, Any]
) -> list[Pair]:
    """Pairs of experiments that differ in nothing else."""
    return [
        (first, second)
        for first in _with(found, **better)
        for second in _with(found, **worse)
        if first.params | worse == second.params
    ]


def _finding(claim: str, pairs: Sequence[Pair], ours: Ours) -> Finding:
    here = [ours(first) - ours(second) for first, second in pairs]
    theirs = [
        # The least and the most that their records allow.
        (first.theirs[0] - second.theirs[1], first.theirs[1] - second.theirs[0])
        for first, second in pairs
        if first.theirs is not None
        and second.theirs is not None
        # Two that lie somewhere in the same range tell nothing.
        and first.theirs != second.theirs
    ]
    return Finding(
        claim, theirs=_bounds(theirs), ours=_points(here), verdict=_verdict(here, theirs)
    )


def _verdict(here: Sequence[float], theirs: Sequence[tuple[float, float]]) -> str:
    up, down = sum(d > NOISE for d in here), sum(d < -NOISE for d in here)
    if up == len(here):
        answer = "holds"
    elif up:
        answer = f"holds in {up} of {len(here)} pairs"
    elif down:
        part = "" if down == len(here) else f" in {down} of {len(here)} pairs"
        answer = f"does not hold, the other way round{part}"
    else:
        answer = "does not hold, no clear difference"
    if not theirs:
        return f"new: {answer}"
    if any(low <= NOISE for low, _ in theirs):
        return f"not clear in their figures; here it {answer}"
    return answer


def _bounds(theirs: Sequence[tuple[float, float]]) -> str:
    if not theirs:
        return "no figures"
    if all(low == high for low, high in theirs):
        return _points([low for low, _ in theirs])
    low, high = min(low for low, _ in theirs), max(high for _, high in theirs)
    return f"between {_signed(100 * low)} and {_signed(100 * high)} points"


def _points(differences: Sequence[float]) -> str:
    """The mean of some differences of shares, in points, and their range."""
    low, high = 100 * min(differences), 100 * max(differences)
    if len(differences) == 1:
        return f"{_signed(low)} points"
    return f"{_signed(100 * mean(differences))} points ({_signed(low)} to {_signed(high)})"


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # + 0.0: no -0.0
