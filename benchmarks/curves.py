"""Learning curves of random configurations, trained to their end once and kept in a file.

What a pruner would have done to them can then be replayed in seconds, in any order.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from data_utils import DataSpec


@dataclass(frozen=True)
class Curve:
    """One configuration: its parameters, and what it scored after so many seconds.

    ``values[k]`` is the validation balanced accuracy of step k + 1, ``seconds[k]`` the time of
    training and evaluation until then.
    """

    params: dict[str, Any]
    values: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Curves:
    """The recorded curves of one network on one data set; ``max_steps`` is the longest trial's."""

    model: str
    data: str
    max_steps: int
    curves: list[Curve]

    @classmethod
    def load(cls, path: Path) -> Curves:
        """Read what ``record`` wrote."""
        content = json.loads(path.read_text("utf-8"))
        curves = [Curve(**curve) for curve in content["curves"]]
        return cls(content["model"], content["data"], content["max_steps"], curves)


def record(
    path: Path, spec: DataSpec, model: str, *, count: int, cache_folder: Path, seed: int = 0
) -> Curves:
    """``count`` curves in the file ``path``: those that it lacks are trained and added to it.

    The configurations are what the random sampler of a study with ``seed`` would draw.
    """
    import optuna
    import torch

    from search.display.progress import Progress
    from search.inputs import TrainingData, load_inputs, prepare_training
    from search.spaces import DEFAULT_EPOCHS, SEARCH_SPACES, Task

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path.exists() and len(done := Curves.load(path).curves) >= count:
        stored = Curves.load(path)
        return Curves(stored.model, stored.data, stored.max_steps, done[:count])
    prepare_training()
    inputs = load_inputs(spec, None, None, cache_folder=cache_folder, progress=Progress())
    task = Task(
        vocabulary_size=len(inputs.prepared.vocabulary),
        embedding_dim=inputs.vectors.matrix.shape[1],
        num_classes=len(inputs.prepared.labels),
        max_epochs=DEFAULT_EPOCHS[model],
        seed=seed,
    )
    data = TrainingData(inputs, cache_folder=cache_folder, device=torch.device("cpu"))
    curves = Curves.load(path).curves if path.exists() else []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for number in range(count):
        trial = study.ask()
        config = SEARCH_SPACES[model](trial, task)
        if number < len(curves):
            continue
        found = list(data.trainer(config).run())
        values = [round(evaluation.balanced_accuracy, 6) for evaluation in found]
        seconds = [round(evaluation.seconds, 3) for evaluation in found]
        curves.append(Curve(trial.params, values, seconds))
        recorded = Curves(model, inputs.prepared.name, task.max_steps, curves)
        _write(path, recorded)
        print(
            f"curve {number + 1} of {count}: {max(values):.4f} in {seconds[-1]:.1f} s", flush=True
        )
    return recorded


def _write(path: Path, recorded: Curves) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"machine": machine(), **asdict(recorded)}) + "\n", "utf-8")
    os.replace(partial, path)
