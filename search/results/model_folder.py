"""A trained network as a folder that stands alone: its files, its code, and how it appears."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import data_utils
import models
import prediction
from data_utils import Cleaning, Vocabulary
from data_utils.errors import one_line
from data_utils.stop_words import stop_words
from models import MODELS, TitleClassifier
from prediction.checksums import write_checksums
from prediction.files import CONFIG, EMBEDDING, FORMAT, LABELS, STOP_WORDS, VOCABULARY, WEIGHTS
from search.errors import SearchError
from search.names import is_utf8

# What prediction takes of data_utils; all of models but what trains.
_DATA_CODE = (
    "cleaning.py",
    "columns.py",
    "compression.py",
    "csv_header.py",
    "errors.py",
    "hashing.py",
    "parquet.py",
    "quotes.py",
    "readers.py",
    "records.py",
    "safe_text.py",
    "stemming.py",
    "stop_words.py",
    "title_streams.py",
    "vocabulary.py",
)
_TRAINING_CODE = (
    "balance.py",
    "checkpoints.py",
    "costs.py",
    "evaluation.py",
    "kernels.py",
    "metrics.py",
    "optimizer.py",
    "process.py",
    "training.py",
)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` when it is complete, checksums and all.

    Errors of what fills it pass as they are; ``writing`` is for those of writing into it.

    Raises:
        SearchError: It cannot be written there.
    """
    place = target.resolve()  # of "." the name is that of the folder
    with writing(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(
            tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent)
        )
    try:
        yield partial
        with writing(target):
            write_checksums(partial)
            partial.chmod(0o755)  # mkdtemp makes it private
            os.replace(partial, place)  # takes the place of an empty folder too
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raises SearchError for what cannot be written on the way to ``target``."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors has a class of its own for both
        reason = error.strerror if isinstance(error, OSError) else one_line(str(error))
        raise SearchError(
            f"{target} cannot be written ({reason}): give another folder with --to"
        ) from error


def check_target(target: Path) -> None:
    """See that nothing would be overwritten, and that all that writes there can.

    Raises:
        SearchError: There is something already, it cannot be replaced, or the name is not UTF-8.
    """
    if not is_utf8(target):  # safetensors takes no other
        raise SearchError(f"{str(target)!r} is not UTF-8: give another folder with --to")
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        if os.path.ismount(target):
            raise SearchError(f"{target} is a mount point: give a folder in it with --to")
        return
    if target.exists() or target.is_symlink():
        raise SearchError(
            f"{target} is there already: give another folder with --to, or remove it first"
        )


def write_model(
    folder: Path,
    model: TitleClassifier,
    *,
    vocabulary: Vocabulary,
    labels: tuple[str, ...],
    cleaning: Cleaning,
) -> None:
    """Write all that a prediction reads, and the code that reads it."""
    names = {model_type: name for name, (_, model_type) in MODELS.items()}
    config = {
        "format": FORMAT,
        "model": names[type(model)],
        "network": vars(model.config),
        "cleaning": asdict(cleaning),
        "stemmer": None if vocabulary.stemmer is None else vocabulary.stemmer.language,
    }
    _write_json(folder / CONFIG, config)
    _write_json(folder / LABELS, labels)
    vocabulary.save(folder / VOCABULARY)
    words = sorted(stop_words(cleaning.stop_words))
    (folder / STOP_WORDS).write_text("".join(f"{word}\n" for word in words), "utf-8")
    save_file(_weights(model), folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it private
    _write_code(folder, with_stemmer=vocabulary.stemmer is not None)


def _weights(model: TitleClassifier) -> dict[str, torch.Tensor]:
    """The dense weights, and a vector for each word: its own and its stem's in one.

    Frozen vectors are no part of the state, but a folder that stands alone needs them.
    """
    with torch.inference_mode():
        every_word = torch.arange(len(model.embedding), device=model.embedding.device)
        weights = {EMBEDDING: model.rows(every_word)}
    weights |= {name: w for name, w in model.state_dict().items() if name != EMBEDDING}
    # The dense weights may be views of one tensor, which safetensors refuses.
    return {name: weight.cpu().clone().contiguous() for name, weight in weights.items()}


def _write_code(folder: Path, *, with_stemmer: bool) -> None:
    for package in (data_utils, models, prediction):
        source = Path(str(package.__file__)).parent
        target = folder / source.name
        target.mkdir()
        for path in sorted(source.glob("*.py")):
            if package is data_utils and path.name not in _DATA_CODE:
                continue
            if package is models and path.name in _TRAINING_CODE:
                continue
            if path.name != "standalone.py":
                shutil.copyfile(path, target / path.name)
    (folder / "data_utils" / "__init__.py").write_text(
        '"""The part of data_utils that prediction needs."""\n', "utf-8"
    )
    shutil.copyfile(
        Path(str(prediction.__file__)).with_name("standalone.py"), folder / "predict.py"
    )
    needed = ["torch", "numpy", "safetensors", *(["snowballstemmer"] if with_stemmer else [])]
    pins = [f"{name}=={version(name).partition('+')[0]}\n" for name in needed]
    (folder / "requirements.txt").write_text("".join(pins), "utf-8")


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
