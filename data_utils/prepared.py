"""Prepared data: a data source as memory-mapped integer arrays, built once and shared."""

import hashlib
import importlib.metadata
import json
import os
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import load_array
from data_utils.building import build_arrays
from data_utils.cache import Progress, build_once, find_damage
from data_utils.errors import DataError
from data_utils.records import JOINED
from data_utils.sources import Source, open_source
from data_utils.spec import DataSpec
from data_utils.stemming import NONE
from data_utils.stop_words import stop_words
from data_utils.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")
_FORMAT = 4  # raise it when the same source and settings give other arrays
# Where cleaning of version 1, as studies of earlier versions have it, still gives the arrays that
# they were made with, the data still have the fingerprint of that time.
_FORMAT_BEFORE = 3
_SNOWBALL_BEFORE = "3.1.1"  # fingerprints of the format before do not name another


@dataclass(frozen=True)
class Titles:
    """The titles of one split, memory-mapped, in the order of the source.

    Title i has the tokens ``token_ids[offsets[i]:offsets[i + 1]]`` (none if it cleaned to
    nothing) and the class ``labels[i]``.
    """

    token_ids: NDArray[np.int32]  # (T,)
    offsets: NDArray[np.int64]  # (N + 1,)
    labels: NDArray[np.int64]  # (N,)
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
    """Prepare a data source under ``cache_dir``, or open it if it was prepared before.

    Several processes may ask for the same data at once: one prepares it, the others wait.
    ``processes`` clean titles beside this one if the source is large (None: one per core).

    Raises DataError if the source cannot be read or used, or the cache cannot be written.
    """
    source = open_source(spec)
    fingerprint = before = _fingerprint(source, spec, _FORMAT)
    if spec.cleaning.version == 1:
        before = _fingerprint(source, spec, _FORMAT_BEFORE)
        prepared_before = _folder(cache_dir, source, before)
        # A study of an earlier version goes on with the rows that it read, where they are left.
        if prepared_before.is_dir() and find_damage(prepared_before) is None:
            return _refuse_if_strict(spec, _open(prepared_before))

    def build(partial: Path) -> None:
        build_arrays(
            partial,
            source,
            spec,
            fingerprint=fingerprint,
            fingerprint_before=before,
            progress=progress,
            processes=processes or len(os.sched_getaffinity(0)),
        )

    folder = build_once(_folder(cache_dir, source, fingerprint), build, progress=progress)
    return _refuse_if_strict(spec, _open(folder))


def _refuse_if_strict(spec: DataSpec, prepared: PreparedData) -> PreparedData:
    """Refuse data with rejects that were prepared before, without ``strict``."""
    found = prepared.summary["first_rejected"] | prepared.summary.get("first_oddities", {})
    found.pop(JOINED, None)
    if spec.strict and found:
        reason, place = next(iter(found.items()))
        raise DataError(f"{spec.source}: {place}: {reason} (refused with --strict)")
    return prepared


def _folder(cache_dir: Path, source: Source, fingerprint: str) -> Path:
    return cache_dir / "data" / f"{source.name}-{fingerprint[:16]}"


def open_prepared(folder: Path) -> PreparedData:
    """Open a folder that ``prepare`` returned, after verifying sizes and checksums.

    Raises DataError if it is not there or damaged.
    """
    damage = find_damage(folder) if folder.is_dir() else "there is no such folder"
    if damage is not None:
        raise DataError(f"{folder} cannot be opened ({damage}): prepare the data again")
    return _open(folder)


def find_prepared(cache_dir: Path, fingerprint: str) -> PreparedData | None:
    """Data of this fingerprint that were prepared under ``cache_dir`` before, wherever their
    source is now; None if they are not there, or damaged."""
    for meta in (cache_dir / "data").glob("*/meta.json"):
        try:
            is_meant = json.loads(meta.read_text("utf-8"))["fingerprint"] == fingerprint
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged one is built again by whoever has its source
        if is_meant and find_damage(meta.parent) is None:
            return _open(meta.parent)
    return None


def _fingerprint(source: Source, spec: DataSpec, version: int) -> str:
    """A hash of all that the arrays depend on: content, settings, and tables of other packages."""
    settings = asdict(spec) | {"min_rows": source.min_rows, "is_split": source.is_split}
    settings["columns"] = [part.layout.columns for part in source.parts]
    for name in ("source", "strict", "text_column", "label_column", "level"):
        del settings[name]  # what they choose is in the digest and the columns
    if spec.cleaning.version == 1:  # as it was before there were any
        del settings["cleaning"]["version"]
    known = {
        "format": version,
        "content": source.digest,
        "settings": settings,
        "unicode": unicodedata.unidata_version,
        "stop_words": sorted(stop_words(spec.cleaning.stop_words)),
    }
    snowball = importlib.metadata.version("snowballstemmer")
    if spec.stemmer != NONE and snowball != _SNOWBALL_BEFORE:
        known["snowball"] = snowball
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _open(folder: Path) -> PreparedData:
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
