"""What a network takes for what on the validation part."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_utils import PreparedData
from data_utils.safe_text import for_cell, for_terminal
from models.evaluation import EVALUATION_BATCH_SIZE, model_logits
from models.training import Trainer

_HARDEST = 20
_TITLE_CHARACTERS = 120


@dataclass(frozen=True)
class Confusion:
    """``count`` of the ``titles`` of ``category`` that were taken for ``answer``."""

    category: str
    answer: str
    count: int
    titles: int
    example: str


@torch.inference_mode()
def answers_of(trainer: Trainer) -> NDArray[np.int64]:
    """The category (N,) of each validation title by the trainer's best weights."""
    trainer.model.load_state_dict(trainer.best_state)
    examples, found = trainer.validation, []
    for start in range(0, len(examples), EVALUATION_BATCH_SIZE):
        batch = examples.slice(start, min(start + EVALUATION_BATCH_SIZE, len(examples)))
        found.append(model_logits(trainer.model, batch).argmax(1).cpu())
    return torch.cat(found).numpy()


def hardest(prepared: PreparedData, answers: NDArray[np.int64]) -> list[Confusion]:
    """The most frequent confusions, each with one of its titles."""
    truth, size = np.asarray(prepared.validation.labels, np.int64), len(prepared.labels)
    wrong = np.flatnonzero(truth != answers)
    codes = truth[wrong] * size + answers[wrong]
    pairs, first, counts = np.unique(codes, return_index=True, return_counts=True)
    titles = np.bincount(truth, minlength=size)
    found = []
    for index in np.argsort(-counts, kind="stable")[:_HARDEST]:
        category, answer = divmod(int(pairs[index]), size)
        found.append(
            Confusion(
                category=prepared.labels[category],
                answer=prepared.labels[answer],
                count=int(counts[index]),
                titles=int(titles[category]),
                example=_shortened(prepared.validation.text(int(wrong[first[index]]))),
            )
        )
    return found


def as_csv(confusions: list[Confusion]) -> str:
    """A table that the dashboard can open."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["category", "taken for", "titles", "of", "for example"])
    for found in confusions:
        names = for_cell(found.category), for_cell(found.answer)
        writer.writerow([*names, found.count, found.titles, for_cell(found.example)])
    return file.getvalue()


def _shortened(title: str) -> str:
    text = " ".join(for_terminal(title).split())
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1] + "…"
