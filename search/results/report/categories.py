"""What the best network gets right and wrong, category by category, on the validation part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_utils import PreparedData, Titles
from models import TitleClassifier
from models.evaluation import EVALUATION_BATCH_SIZE, model_logits
from models.examples import Examples
from search.results.opened import OpenedStudy
from search.results.repeats import train_again

_WORST, _CONFUSIONS, _EXAMPLES = 10, 10, 3
_TITLE_CHARACTERS = 120


@dataclass(frozen=True)
class Category:
    """A category of the validation part. ``taken_for``: its most frequent wrong answer."""

    name: str
    train_titles: int
    titles: int
    recall: float
    taken_for: str | None
    taken_count: int


@dataclass(frozen=True)
class Confusion:
    """Titles of ``truth`` that were taken for ``answer``; ``examples`` the most confident ones."""

    truth: str
    answer: str
    count: int
    share: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Categories:
    """``exact``: whether the training repeated the trial's stored value to the bit."""

    trial: int
    balanced_accuracy: float
    accuracy: float
    titles: int
    exact: bool
    all: tuple[Category, ...]
    confusions: tuple[Confusion, ...]

    @property
    def worst(self) -> list[Category]:
        """Lowest recall first; of equal ones, those with more titles."""
        ranked = sorted(self.all, key=lambda found: (found.recall, -found.titles, found.name))
        return [found for found in ranked if found.recall < 1.0][:_WORST]

    @property
    def recalls(self) -> list[float]:
        return [found.recall for found in self.all]

    @property
    def perfect(self) -> int:
        return sum(found.recall == 1.0 for found in self.all)


def categories_of_best(opened: OpenedStudy) -> Categories:
    """Train the best trial's configuration again and look at its answers.

    Raises:
        SearchError, DataError: The study's data are not here.
    """
    trial = opened.best
    opened.progress.remark(f"trial {trial.number} again, for its categories")
    trained = train_again(opened, opened.config(trial))
    data = opened.data
    examples = data.pooled_validation if trained.model.takes_pooled else data.validation
    answers, confidence = answer(trained.model, examples)
    exact = trained.best.balanced_accuracy == trial.value
    return _categories(opened, trial.number, answers, confidence, exact=exact)


@torch.inference_mode()
def answer(
    model: TitleClassifier, examples: Examples
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The category (N,) that ``model`` gives each title, and its probability (N,)."""
    examples = examples.padded(model.min_length)
    labels, confidence = [], []
    for start in range(0, len(examples), EVALUATION_BATCH_SIZE):
        batch = examples.slice(start, min(start + EVALUATION_BATCH_SIZE, len(examples)))
        highest = model_logits(model, batch).float().softmax(1).max(1)
        labels.append(highest.indices.cpu())
        confidence.append(highest.values.cpu())
    return torch.cat(labels).numpy(), torch.cat(confidence).numpy()


def _categories(
    opened: OpenedStudy,
    number: int,
    answers: NDArray[np.int64],
    confidence: NDArray[np.float32],
    *,
    exact: bool,
) -> Categories:
    prepared = opened.inputs.prepared
    truth = np.asarray(prepared.validation.labels, np.int64)
    size = len(prepared.labels)
    titles = np.bincount(truth, minlength=size)
    hits = np.bincount(truth[answers == truth], minlength=size)
    recalls = hits / np.maximum(titles, 1)
    pairs = _confused_pairs(truth, answers, size)
    confusions = (
        Confusion(
            truth=prepared.labels[right],
            answer=prepared.labels[wrong],
            count=count,
            share=count / int(titles[right]),
            examples=_examples(
                prepared.validation, (truth == right) & (answers == wrong), confidence
            ),
        )
        for right, wrong, count in pairs[:_CONFUSIONS]
    )
    return Categories(
        trial=number,
        balanced_accuracy=float(recalls[titles > 0].mean()),
        accuracy=float(hits.sum() / len(truth)),
        titles=len(truth),
        exact=exact,
        all=_each(prepared, titles, recalls, pairs),
        confusions=tuple(confusions),
    )


def _each(
    prepared: PreparedData,
    titles: NDArray[np.int64],
    recalls: NDArray[np.float64],
    pairs: list[tuple[int, int, int]],
) -> tuple[Category, ...]:
    """The categories that the validation part has; ``pairs`` begin with the most frequent."""
    names, taken = prepared.labels, dict[int, tuple[int, int]]()
    for right, wrong, count in pairs:
        taken.setdefault(right, (wrong, count))
    train = np.bincount(prepared.train.labels, minlength=len(names))
    return tuple(
        Category(
            name=names[label],
            train_titles=int(train[label]),
            titles=int(titles[label]),
            recall=float(recalls[label]),
            taken_for=names[taken[label][0]] if label in taken else None,
            taken_count=taken[label][1] if label in taken else 0,
        )
        for label in np.flatnonzero(titles).tolist()
    )


def _confused_pairs(
    truth: NDArray[np.int64], answers: NDArray[np.int64], size: int
) -> list[tuple[int, int, int]]:
    """(truth, answer, count) of the wrong answers, the most frequent first."""
    wrong = truth != answers
    codes, counts = np.unique(truth[wrong] * size + answers[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(*divmod(int(codes[i]), size), int(counts[i])) for i in order]


def _examples(
    titles: Titles, chosen: NDArray[np.bool_], confidence: NDArray[np.float32]
) -> tuple[str, ...]:
    indices = np.flatnonzero(chosen)
    indices = indices[np.argsort(-confidence[indices], kind="stable")]
    found: dict[str, None] = {}  # a title may be there several times
    for index in indices:
        found[shortened(titles.text(int(index)))] = None
        if len(found) == _EXAMPLES:
            break
    return tuple(found)


def shortened(title: str) -> str:
    """A title fit for one line: no control characters, no more than a line's length."""
    text = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1] + "…"
