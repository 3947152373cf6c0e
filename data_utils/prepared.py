"""Prepared data: a data source as memory-mapped integer arrays, built once and shared."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import load_array
from data_utils.cache import Progress
from data_utils.cleaning import Cleaning
from data_utils.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataSpec:
    """What to prepare. Equal specs over equal bytes give equal data.

    ``source`` is ``"sat"``, a file or a course folder; ``level`` is for ``"sat"`` alone.
    ``min_rows`` leaves out categories with fewer rows (None: keeps all, 20 for ``"sat"``).
    ``max_vocabulary`` does not count ``<pad>`` and ``<unk>``.
    """

    source: str = "sat"
    level: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    language: str | None = None
    label_quality: str | None = None
    min_rows: int | None = None
    sample: int | None = None
    cleaning: Cleaning = Cleaning()
    max_vocabulary: int | None = None
    min_count: int = 1
    split_seed: int = 0
    strict: bool = False


@dataclass(frozen=True)
class Titles:
    """The titles of one split, memory-mapped, in the order of the source.

    Title i has the tokens ``token_ids[offsets[i]:offsets[i + 1]]`` (none if it cleaned to
    nothing) and the class ``labels[i]``.
    """

    token_ids: NDArray[np.int32]  # (T,)
    offsets: NDArray[np.int64]  # (N + 1,)
    labels: NDArray[np.int32]  # (N,)
    text_bytes: NDArray[np.uint8]  # (B,) UTF-8 of all titles
    text_offsets: NDArray[np.int64]  # (N + 1,)

    def __len__(self) -> int:
        return len(self.labels)

    def text(self, index: int) -> str:
        """The title as it stood in the source."""
        start, end = self.text_offsets[index], self.text_offsets[index + 1]
        return self.text_bytes[start:end].tobytes().decode("utf-8")


@dataclass(frozen=True)
class PreparedData:
    """A data source, ready to train on; ``labels[k]`` names class k."""

    folder: Path
    name: str
    fingerprint: str
    labels: tuple[str, ...]
    vocabulary: Vocabulary
    train: Titles
    validation: Titles
    test: Titles
    summary: dict[str, Any]


def prepare(
    spec: DataSpec,
    cache_dir: Path,
    *,
    progress: Progress | None = None,
    processes: int | None = None,
) -> PreparedData:
    """Prepare a data source, or open it if it was prepared before."""
    raise NotImplementedError


def open_prepared(folder: Path) -> PreparedData:
    """Open a folder that ``prepare`` built, without verifying its checksums."""
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    return PreparedData(
        folder=folder,
        name=meta["name"],
        fingerprint=meta["fingerprint"],
        labels=tuple(meta["labels"]),
        vocabulary=Vocabulary.load(folder / "vocabulary.txt"),
        train=_open_titles(folder, "train"),
        validation=_open_titles(folder, "validation"),
        test=_open_titles(folder, "test"),
        summary=meta["summary"],
    )


def _open_titles(folder: Path, split: str) -> Titles:
    return Titles(
        token_ids=load_array(folder / f"{split}.token_ids.npy"),
        offsets=load_array(folder / f"{split}.offsets.npy"),
        labels=load_array(folder / f"{split}.labels.npy"),
        text_bytes=load_array(folder / f"{split}.text_bytes.npy"),
        text_offsets=load_array(folder / f"{split}.text_offsets.npy"),
    )
