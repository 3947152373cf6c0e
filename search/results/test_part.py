"""The test part of a study's data: looked at by nothing but this, and looks are recorded.

Choosing among configurations by what they score here would make their figures too good. So the
search and its repeats see the validation part alone, and the study remembers which of its trials
were evaluated on the test part, and when.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from optuna.trial import FrozenTrial

from data_utils import Titles
from models import TitleClassifier
from models.evaluation import evaluate
from models.examples import Examples
from models.metrics import Metrics, MetricSums
from prediction.predictor import Predictor
from search.results.intervals import intervals
from search.results.opened import OpenedStudy

PREFIX = "test_part:"

_CHUNK_TITLES = 8192


@dataclass(frozen=True)
class TestFigures:
    """What a model scores on the test part; intervals are of 95 %.

    They say how far another sample of titles may be off (see ``intervals``), not another
    training. ``single_title`` counts the categories with one test title, which show nothing of
    their own spread. ``trials_before`` counts the study's other trials that had been evaluated
    here before.
    """

    titles: int
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    loss: float
    trials_before: int
    categories: int
    single_title: int
    recalls: dict[str, tuple[int, float | None]]
    """Category to its number of test titles, and the share of them that was found."""


def evaluate_on_test(opened: OpenedStudy, trial: FrozenTrial, predictor: Predictor) -> TestFigures:
    """Predict the raw titles of the test part, as a user would, and record that it was done."""
    before = evaluated_trials(opened)
    # Recorded before it is known: a process that dies with the figures seen has seen them.
    _record(opened, trial, {})
    test = opened.inputs.prepared.test
    sums = _sums(predictor, test)
    metrics = sums.metrics()
    count, correct = sums.count.numpy(), sums.correct.numpy()
    balanced, plain = intervals(count, correct)
    figures = TestFigures(
        titles=len(test),
        balanced_accuracy=metrics.balanced_accuracy,
        balanced_accuracy_interval=balanced,
        accuracy=metrics.accuracy,
        accuracy_interval=plain,
        loss=metrics.loss,
        trials_before=len(before - {trial.number}),
        categories=int((count > 0).sum()),
        single_title=int((count == 1).sum()),
        recalls={
            label: (int(n), float(hits / n) if n else None)
            for label, n, hits in zip(predictor.labels, count, correct, strict=True)
        },
    )
    stored = asdict(figures)
    del stored["recalls"]  # too long for an attribute where there are many categories
    _record(opened, trial, stored)
    return figures


def evaluated_trials(opened: OpenedStudy) -> set[int]:
    """The numbers of the trials that were evaluated on the test part."""
    names = opened.study.user_attrs
    return {int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)}


def _record(opened: OpenedStudy, trial: FrozenTrial, figures: dict[str, Any]) -> None:
    record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **figures}
    opened.study.set_user_attr(f"{PREFIX}{trial.number}", json.dumps(record))


def _sums(predictor: Predictor, test: Titles) -> MetricSums:
    labels = torch.from_numpy(test.labels).long()
    sums = MetricSums(len(predictor.labels), torch.device("cpu"))
    done = 0
    for start in range(0, len(test), _CHUNK_TITLES):
        titles = [test.text(i) for i in range(start, min(start + _CHUNK_TITLES, len(test)))]
        for logits in predictor.logits(*predictor.encode(titles)):
            sums.add(logits, labels[done : done + len(logits)])
            done += len(logits)
    return sums


def score_test_part(opened: OpenedStudy, model: TitleClassifier) -> Metrics:
    """What a network scores on the test part, without a record on the study.

    For comparisons with figures that others measured on a test part. Nobody may choose among
    configurations by it.
    """
    test = opened.inputs.prepared.test
    examples = Examples(
        token_ids=torch.from_numpy(test.token_ids),
        offsets=torch.from_numpy(test.offsets),
        labels=torch.from_numpy(test.labels).long(),
    )
    device = next(model.parameters()).device
    return evaluate(model, examples.to(device).padded(model.min_length))
