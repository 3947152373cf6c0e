"""The course's script (``reference.py``) inside a bare Optuna loop, with Optuna's defaults."""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from benchmarks import reference
from benchmarks.rivals import Found, OutOfTime
from data_utils import PreparedData

EPOCHS = 5


class PlainSearch:
    """A search over the script's MLP: layers, dropout, batch, learning rate, frozen or not.

    Its files are written, and the word vectors trained, before its time starts.
    """

    def __init__(self, prepared: PreparedData, matrix: Any, *, seed: int, scratch: Path) -> None:
        self._matrix = torch.from_numpy(np.array(matrix))
        self._num_classes = len(prepared.labels)
        self._seed = seed
        self._paths = {
            name: write_course_file(prepared, name, scratch)
            for name in ("train", "validation", "test")
        }
        self._best: torch.nn.Module | None = None
        self._found = Found()

    def run(self, seconds: float) -> Found:
        """Search for so long, then score the best model on test."""
        torch.manual_seed(self._seed)
        self._started = time.perf_counter()
        self._seconds = seconds
        sampler = optuna.samplers.TPESampler(seed=self._seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(self._objective, timeout=seconds, catch=(OutOfTime,))
        self._found.seconds = time.perf_counter() - self._started
        self._found.trials = len(study.trials)
        if self._best is not None:
            self._found.test = reference.evaluate(self._best, self._batches("test", 2048))
        return self._found

    def _objective(self, trial: optuna.Trial) -> float:
        model = self._network(trial)
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-3, log=True)
        batch_size = trial.suggest_categorical("batch_size", [128, 256])
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
        value = 0.0
        for epoch in range(EPOCHS):
            batches = self._in_time(self._batches("train", batch_size, shuffle=True))
            reference.train_epoch(model, optimizer, batches)
            value = reference.evaluate(model, self._batches("validation", 2048))
            if self._found.improved(time.perf_counter() - self._started, value):
                self._best = copy.deepcopy(model)
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    def _network(self, trial: optuna.Trial) -> torch.nn.Module:
        depth = trial.suggest_int("num_layers", 1, 4)
        return reference.ReferenceMLP(
            self._matrix.clone(),
            freeze=trial.suggest_categorical("freeze_embeddings", [True, False]),
            hidden=[trial.suggest_int(f"hidden_{i}", 64, 1024, log=True) for i in range(depth)],
            num_classes=self._num_classes,
            dropout=trial.suggest_float("dropout", 0.0, 0.7),
        )

    def _batches(self, name: str, batch_size: int, *, shuffle: bool = False) -> Any:
        path = self._paths[name]
        return reference.loader(path, batch_size=batch_size, shuffle=shuffle, min_length=1)

    def _in_time(self, batches: Any) -> Iterator[Any]:
        for batch in batches:
            if time.perf_counter() - self._started > self._seconds:
                raise OutOfTime
            yield batch


def write_course_file(prepared: PreparedData, name: str, folder: Path) -> Path:
    """One part of the data as the course's JSON lines; the ids are those of ours."""
    titles = getattr(prepared, name)
    path = folder / f"spanish.{name}.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for index, label in enumerate(titles.labels.tolist()):
            start, end = titles.offsets[index], titles.offsets[index + 1]
            row = {
                "title": titles.text(index),
                "category": prepared.labels[label],
                "data": titles.token_ids[start:end].tolist() or [0],
                "target": label,
                "n_labels": len(prepared.labels),
                "size": len(titles),
            }
            file.write(json.dumps(row) + "\n")
    return path
