"""A trained network with everything between a raw title and its category."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data_utils.cleaning import Cleaning
from data_utils.errors import DataError, one_line
from data_utils.vocabulary import Vocabulary
from models import MODELS, TitleClassifier, build_model
from prediction.checksums import find_damage
from prediction.encoder import StreamEncoder
from prediction.files import (
    CONFIG,
    EMBEDDING,
    FORMAT,
    LABELS,
    NEEDED,
    STOP_WORDS,
    VOCABULARY,
    WEIGHTS,
)

BATCH_TITLES = 2048  # as in the evaluation of a training
# A CNN copies the vectors of all its windows: what bounds a batch of very long titles.
BATCH_TOKENS = 1 << 15

# What files that are not as an export writes them lead to.
_ODDITIES = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


@dataclass(frozen=True)
class Scored:
    """The best categories of some titles, the best first: ids and probabilities, both (N, top)."""

    categories: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class Predictor:
    """Titles in, categories out; for any number of threads at once."""

    def __init__(
        self, model: TitleClassifier, labels: tuple[str, ...], encoder: StreamEncoder
    ) -> None:
        self.model = model.eval()
        self.labels = labels
        self._encoder = encoder
        # One encoder for all threads: Python code runs in one of them at a time anyway, and each
        # would need a stemmer of its own and have to learn every word for itself.
        self._encoding = Lock()

    def encode(self, titles: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Token ids (T,) and offsets (N + 1,)."""
        with self._encoding:
            return self._encoder.encode(titles)

    @torch.inference_mode()
    def logits(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int64]) -> Iterator[Tensor]:
        """Logits (B, K), batch after batch."""
        ids, ends = torch.from_numpy(token_ids), torch.from_numpy(offsets)
        for start, stop in _batches(offsets):
            first, last = int(offsets[start]), int(offsets[stop])
            yield self.model(ids[first:last], ends[start : stop + 1] - first)

    @torch.inference_mode()
    def score(
        self, token_ids: NDArray[np.int32], offsets: NDArray[np.int64], *, top: int = 1
    ) -> Scored:
        """The ``top`` most probable categories of each title; all of them, if there are fewer."""
        top = min(top, len(self.labels))
        categories = np.empty((len(offsets) - 1, top), dtype=np.int64)
        probabilities = np.empty((len(offsets) - 1, top), dtype=np.float32)
        start = 0
        for logits in self.logits(token_ids, offsets):
            rows = slice(start, start := start + len(logits))
            best = logits.topk(top, dim=1).indices
            categories[rows] = best.numpy()
            probabilities[rows] = logits.softmax(1).gather(1, best).numpy()
        return Scored(categories, probabilities)

    def predict(self, titles: Sequence[Any], *, top: int = 1) -> list[list[tuple[str, float]]]:
        """(category, probability) of each title, the most probable first.

        A title that is no text (None, NaN, a number) counts as an empty one.
        """
        texts = [title if isinstance(title, str) else "" for title in titles]
        found = self.score(*self.encode(texts), top=top)
        return [
            [(self.labels[k], p) for k, p in zip(ids, probabilities, strict=True)]
            for ids, probabilities in zip(
                found.categories.tolist(), found.probabilities.tolist(), strict=True
            )
        ]


def open_predictor(folder: Path, *, verify: bool = True) -> Predictor:
    """The model of an exported folder, every file of which is held against its checksum first.

    ``verify=False`` is for one that is just being written, and has no checksums yet.

    Raises:
        DataError: There is no such folder, it is damaged, or of another version.
    """
    if verify:
        check_folder(folder)
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"its format is {config['format']}, not {FORMAT}")
        predictor = _load(folder, config)
        # What a value of its settings cannot do shows here, and not at somebody's first title.
        predictor.predict(["a title", ""])
        return predictor
    except (*_ODDITIES, SafetensorError) as error:
        raise DataError(
            f"{folder} is no model that this version can read ({one_line(repr(error))}): "
            "export it again, or use its own predict.py"
        ) from error


def check_folder(folder: Path) -> None:
    """See that an exported folder is whole.

    Raises:
        DataError: It is not there, or damaged.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: give one that `studies.py export` wrote")
    if not any((folder / name).exists() for name in NEEDED):
        exports = sorted(path.parent for path in folder.glob(f"exports/*/{CONFIG}"))
        advice = f"such as {exports[0]}" if exports else "by default OUT/exports/STUDY"
        raise DataError(
            f"{folder} is not an exported model: give a folder that `studies.py export` wrote, "
            f"{advice}"
        )
    damage = find_damage(folder, needed=NEEDED)
    if damage is not None:
        raise DataError(f"the model in {folder} is damaged ({damage}): copy or export it again")


def _load(folder: Path, config: dict[str, Any]) -> Predictor:
    network = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config["network"].items()
    }
    config_type, _ = MODELS[config["model"]]
    weights = {name: w.float() for name, w in load_file(folder / WEIGHTS).items()}
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{name} among its weights holds NaN or infinity")
    # Frozen: a constant of the network here, whatever it was in training. Nothing is dropped.
    frozen = replace(config_type(**network), freeze_embeddings=True, dropout=0.0)
    model = build_model(frozen, weights.pop(EMBEDDING))
    model.load_state_dict(weights)
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    labels = tuple(json.loads((folder / LABELS).read_text("utf-8")))
    if (len(vocabulary), len(labels)) != (frozen.vocabulary_size, frozen.num_classes):
        raise ValueError("vocabulary or labels are not those of the network")
    cleaning = Cleaning.from_dict(config["cleaning"])
    stop_words = frozenset((folder / STOP_WORDS).read_text("utf-8").split("\n")[:-1])
    return Predictor(model, labels, StreamEncoder(vocabulary, cleaning, stop_words))


def _batches(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Bounds of batches of at most BATCH_TITLES titles and, one title aside, BATCH_TOKENS."""
    start, count = 0, len(offsets) - 1
    while start < count:
        fitting = int(np.searchsorted(offsets, offsets[start] + BATCH_TOKENS, side="right")) - 1
        stop = min(max(fitting, start + 1), start + BATCH_TITLES, count)
        yield start, stop
        start = stop
