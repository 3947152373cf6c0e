"""One worker of a study in this process: objective, tracking and display put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from data_utils import PreparedData
from search.checkpoints import CheckpointStore
from search.folders import OutputFolder
from search.inputs import Inputs, TrainingData
from search.objective import Objective
from search.overrides import SearchStorage
from search.progress import Progress
from search.settings import StudySettings
from search.spaces import GRIDS, Task
from search.strategies import PRUNERS, SAMPLERS
from search.tracking import Tracker
from search.worker import Attempt, WorkerResult, run_worker


def work(
    study: optuna.Study,
    storage: SearchStorage,
    settings: StudySettings,
    inputs: Inputs,
    *,
    folder: OutputFolder,
    tracking_uri: str,
    device: torch.device,
    progress: Progress,
) -> WorkerResult:
    """Run trials of the study in this process until there is nothing left to do.

    Raises:
        SearchError: As ``run_worker``.
    """
    task = task_of(settings, inputs.prepared)
    checkpoints = CheckpointStore(folder.checkpoints, study.study_name)
    tracker = Tracker(
        tracking_uri,
        study_name=study.study_name,
        spool_dir=folder.tracking_events,
        artifact_root=folder.artifacts,
        params=_flat(asdict(settings)),
        tags={"data_fingerprint": settings.data_fingerprint},
        notify=progress.message,
    )
    objective = Objective(
        settings.model,
        task,
        TrainingData(inputs, cache_folder=folder.cache, device=device),
        checkpoints=checkpoints,
        tracker=tracker,
        progress=progress,
    )

    def on_end(attempt: Attempt, state: TrialState) -> None:
        number = attempt.trial.number
        value = objective.value if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
        progress.trial_finished(number, state.name, value)
        if state == TrialState.RUNNING:  # another worker has it, and all that belongs to it
            return
        tracker.trial_finished(attempt.root, number, state=state.name, value=value)
        if state.is_finished():
            checkpoints.remove(attempt.root)

    tracker.open()
    try:
        return run_worker(
            study.study_name,
            storage,
            objective,
            make_sampler=lambda seed: SAMPLERS[settings.sampler](seed, GRIDS[settings.model]),
            pruner=PRUNERS[settings.pruner](task.max_steps),
            seed=settings.seed,
            checkpoint_step=checkpoints.step,
            on_end=on_end,
        )
    finally:
        tracker.close()


def task_of(settings: StudySettings, prepared: PreparedData) -> Task:
    """What the study's configurations take from its data."""
    return Task(
        vocabulary_size=len(prepared.vocabulary),
        embedding_dim=settings.embedding_dim,
        num_classes=len(prepared.labels),
        max_epochs=settings.max_epochs,
        seed=settings.seed,
    )


def show_start(
    progress: Progress,
    study: optuna.Study,
    *,
    n_trials: int,
    timeout_seconds: float | None = None,
) -> None:
    """Tell the display where the study stands before its trials run."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state for trial in trials)
    complete = [(t.number, t.value, t.params) for t in trials if t.state == TrialState.COMPLETE]
    best = max(((n, v, p) for n, v, p in complete if v is not None), key=_value, default=None)
    progress.study_started(
        study.study_name,
        n_trials,
        complete=states[TrialState.COMPLETE],
        pruned=states[TrialState.PRUNED],
        failed=states[TrialState.FAIL],
        best=best,
        timeout_seconds=timeout_seconds,
    )


def _value(trial: tuple[int, float, Mapping[str, Any]]) -> float:
    return trial[1]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: MLflow's parameters are a flat table."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
