"""What a study trains on: titles, word vectors, and the device that they are on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from data_utils import DataSpec, PreparedData, Titles, prepare
from data_utils.emptied import describe_emptied
from data_utils.padded import padded_titles
from data_utils.pooled import pooled_features
from data_utils.prepared import find_prepared
from data_utils.vectors import WordVectors, find_vectors, word_vectors
from models import build_model
from models.examples import Examples
from models.process import prepare_process
from models.training import Trainer
from search.display.progress import Progress
from search.errors import SearchError
from search.settings import StudySettings
from search.spaces import TrialConfig


@dataclass(frozen=True)
class Inputs:
    """Prepared titles and the word vectors of their vocabulary."""

    prepared: PreparedData
    vectors: WordVectors


def load_inputs(
    spec: DataSpec,
    vectors_path: Path | None,
    embedding_dim: int | None,
    *,
    cache_folder: Path,
    progress: Progress,
    check: Callable[[PreparedData], None] | None = None,
) -> Inputs:
    """Prepare the titles and the word vectors, or open them from the cache.

    Args:
        check: Called with the titles, before minutes go into their vectors.

    Raises:
        DataError: Names what cannot be read, and where.
    """
    prepared = _prepare(spec, cache_folder, progress)
    if check is not None:
        check(prepared)
    vectors = word_vectors(
        prepared,
        path=vectors_path,
        dim=embedding_dim,
        cache_dir=cache_folder,
        progress=progress.preparing,
    )
    return Inputs(prepared, vectors)


def load_study_inputs(
    settings: StudySettings,
    study_name: str,
    *,
    data: str | None = None,
    vectors: Path | None = None,
    cache_folder: Path,
    progress: Progress,
) -> Inputs:
    """The titles and word vectors of a study; ``data`` and ``vectors`` say where they are here.

    Without these, files that are gone are not missed where the cache has what was made of them.

    Raises:
        SearchError: They are others than those that the study was started with, or not here.
        DataError: Names what cannot be read, and where.
    """
    prepared = _study_titles(
        settings, study_name, data=data, cache_folder=cache_folder, progress=progress
    )
    _check_same("data", prepared.fingerprint, settings.data_fingerprint, study_name, "--data")
    made = _study_vectors(
        settings,
        study_name,
        vectors=vectors,
        prepared=prepared,
        cache_folder=cache_folder,
        progress=progress,
    )
    theirs = settings.vectors_fingerprint
    _check_same("word vectors", made.fingerprint, theirs, study_name, "--vectors")
    return Inputs(prepared, made)


def _study_titles(
    settings: StudySettings,
    study_name: str,
    *,
    data: str | None,
    cache_folder: Path,
    progress: Progress,
) -> PreparedData:
    spec = settings.data_spec()
    if data is not None:
        return _prepare(replace(spec, source=data), cache_folder, progress)
    if spec.source == "sat" or Path(spec.source).exists():
        return _prepare(spec, cache_folder, progress)
    prepared = find_prepared(cache_folder, settings.data_fingerprint)
    if prepared is None:
        raise SearchError(_gone("data", spec.source, study_name, cache_folder, "--data"))
    return prepared


def _study_vectors(
    settings: StudySettings,
    study_name: str,
    *,
    vectors: Path | None,
    prepared: PreparedData,
    cache_folder: Path,
    progress: Progress,
) -> WordVectors:
    path = vectors or (None if settings.vectors is None else Path(settings.vectors))
    if vectors is None and path is not None and not path.exists():
        made = find_vectors(cache_folder, settings.vectors_fingerprint, source=path.name)
        if made is None:
            raise SearchError(_gone("word vectors", path, study_name, cache_folder, "--vectors"))
        return made
    return word_vectors(
        prepared,
        path=path,
        dim=settings.embedding_dim,
        cache_dir=cache_folder,
        progress=progress.preparing,
    )


def _prepare(spec: DataSpec, cache_folder: Path, progress: Progress) -> PreparedData:
    prepared = prepare(spec, cache_folder, progress=progress.preparing)
    if note := describe_emptied(prepared, spec.cleaning):
        progress.message(note)
    return prepared


def _gone(what: str, path: object, study_name: str, cache_folder: Path, option: str) -> str:
    return (
        f"the {what} of study {study_name!r} are neither in {path} nor prepared in "
        f"{cache_folder}: say where they are with {option} PATH"
    )


def _check_same(what: str, ours: str, theirs: str, study_name: str, option: str) -> None:
    if ours != theirs:
        raise SearchError(
            f"the {what} here ({ours}) are not those of study {study_name!r} "
            f"({theirs}); give the study's own with {option} PATH"
        )


class TrainingData:
    """Train and validation titles on one device. The test part is deliberately not here.

    Everything is made when it is first asked for: frozen MLPs alone need pooled features.
    """

    def __init__(self, inputs: Inputs, *, cache_folder: Path, device: torch.device) -> None:
        self._inputs = inputs
        self._cache_folder = cache_folder
        self._padded: dict[tuple[str, int], Examples] = {}
        self.device = device

    @cached_property
    def train(self) -> Examples:
        return self._examples("train")

    @cached_property
    def validation(self) -> Examples:
        return self._examples("validation")

    @cached_property
    def pooled_train(self) -> Examples:
        return self._examples("train", pooled=True)

    @cached_property
    def pooled_validation(self) -> Examples:
        return self._examples("validation", pooled=True)

    def padded(self, split: str, min_length: int) -> Examples:
        """The split with no title shorter than ``min_length``, where workers can share that."""
        if min_length == 0 or self.device.type != "cpu":  # a trainer pads on its own device
            return self.train if split == "train" else self.validation
        if (split, min_length) not in self._padded:
            self._padded[split, min_length] = self._examples(split, min_length=min_length)
        # A copy without the lengths that a trainer keeps with it: they are the worker's own.
        return replace(self._padded[split, min_length])

    @cached_property
    def matrix(self) -> torch.Tensor:
        """Word vectors, ``(V, E)`` float32."""
        return torch.from_numpy(self._inputs.vectors.matrix)

    @cached_property
    def stem_ids(self) -> torch.Tensor | None:
        """The id of each word's stem, ``(V,)``; None if the vocabulary has no stems."""
        vocabulary = self._inputs.prepared.vocabulary
        return None if vocabulary.stemmer is None else torch.from_numpy(vocabulary.stem_ids).long()

    def trainer(self, config: TrialConfig) -> Trainer:
        """A trainer of ``config``, its network drawn from the config's seed."""
        model = build_model(
            config.model, self.matrix, stem_ids=self.stem_ids, seed=config.training.seed
        )
        if model.takes_pooled:
            train, validation = self.pooled_train, self.pooled_validation
        else:
            train = self.padded("train", model.min_length)
            validation = self.padded("validation", model.min_length)
        return Trainer(model.to(self.device), config.training, train, validation)

    def _examples(self, split: str, *, min_length: int = 0, pooled: bool = False) -> Examples:
        """Views of memory-mapped files on a CPU, which all workers of a machine share."""
        prepared, cache = self._inputs.prepared, self._cache_folder
        titles: Titles = getattr(prepared, split)
        token_ids, offsets = titles.token_ids, titles.offsets
        if min_length:
            token_ids, offsets = padded_titles(
                prepared, split=split, min_length=min_length, cache_dir=cache
            )
        features = None
        if pooled:
            features = torch.from_numpy(
                pooled_features(prepared, self._inputs.vectors, split=split, cache_dir=cache)
            )
        return Examples(
            token_ids=torch.from_numpy(token_ids),
            offsets=torch.from_numpy(offsets),
            labels=torch.from_numpy(titles.labels).long(),
            pooled=features,
        ).to(self.device)


def prepare_training() -> None:
    """Set this process up for training: before its first arithmetic, for the same results.

    It trains on one thread unless OMP_NUM_THREADS says otherwise.
    Batches of short titles are small: a second thread gains a third on a quiet machine, and costs
    several times the time on a busy one. Cores are for more workers.
    """
    prepare_process()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def pick_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        SearchError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise SearchError(f"--device {name!r} is unknown; give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SearchError(
            f"--device {name!r} is not there: PyTorch sees {torch.cuda.device_count()} GPUs; "
            "give cpu or auto"
        )
    return device
