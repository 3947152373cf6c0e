"""Prepared data: a data source as memory-mapped integer arrays, built once and shared."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import load_array
from data_utils.cache import Progress
from data_utils.spec import DataSpec
from data_utils.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")


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
