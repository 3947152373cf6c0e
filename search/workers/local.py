"""One worker of a study in this process: objective, tracking and display put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from search import __version__
from search.checkpoints import CheckpointStore
from search.dashboard.attributes import note_in
from search.dashboard.showcase import Showcase
from search.display.progress import Progress
from search.folders import OutputFolder, file_name
from search.inputs import Inputs, TrainingData, prepare_training
from search.limits import PRUNE_REASON, UNITS
from search.objective import Objective
from search.objectives import leaders
from search.settings import StudySettings
from search.spaces import grid
from search.storage.budget import Verdict
from search.storage.operations import StudyStorage
from search.strategies import PRUNERS, make_sampler
from search.study import KEY_ATTR, ORIGIN_KEY_ATTR, task_of
from search.tracking.client import Tracker
from search.tracking.study_run import Ends, Standing, standing_of, track_progress
from search.workers.attempt import params_keys
from search.workers.hang_watch import end_process
from search.workers.loop import Attempt, WorkerResult, run_worker


def work(
    study: optuna.Study,
    storage: StudyStorage,
    settings: StudySettings,
    inputs: Inputs,
    *,
    folder: OutputFolder,
    tracking_uri: str,
    device: torch.device,
    progress: Progress,
    on_hang: Callable[[str], None] = end_process,
) -> WorkerResult:
    """Run trials of the study in this process until there is nothing left to do.

    Args:
        on_hang: As ``run_worker`` takes it.

    Raises:
        SearchError: As ``run_worker``.
    """
    prepare_training()
    task = task_of(settings, inputs.prepared)
    checkpoints = CheckpointStore(
        folder.checkpoints,
        study.user_attrs[KEY_ATTR],
        fingerprints={
            "data": settings.data_fingerprint,
            "vectors": settings.vectors_fingerprint,
        },
        origin_key=study.user_attrs.get(ORIGIN_KEY_ATTR),
        study_name=study.study_name,
        notify=progress.message,
    )
    checkpoints.remove_ended(study.get_trials(deepcopy=False))
    tracker = Tracker(
        tracking_uri,
        study_name=study.study_name,
        study_key=study.user_attrs[KEY_ATTR],
        spool_dir=folder.tracking_events,
        artifact_root=folder.artifacts,
        params=_flat(settings.as_dict()),
        tags=_tags(study, settings),
        notify=progress.message,
        remark=progress.remark,
    )
    ends = Ends(tracker)
    objective = Objective(
        settings.model,
        task,
        TrainingData(inputs, cache_folder=folder.cache, device=device),
        checkpoints=checkpoints,
        tracker=tracker,
        progress=progress,
        fixed_params=settings.fixed_params,
        objectives=settings.objectives,
        limits=settings.limits,
    )
    showcase = Showcase(
        storage,
        study,
        inputs.prepared,
        folder=folder.dashboard_artifacts,
        log_text=tracker.log_text,
        notify=progress.message,
    )

    def on_end(attempt: Attempt, state: TrialState) -> None:
        number = attempt.trial.number
        value = objective.value if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
        trials = study.get_trials(deepcopy=False)
        standing = standing_of(study, trials)
        show_state(progress, standing)
        ends.tell(trials, own=number)
        attributes = attempt.trial.user_attrs
        progress.trial_finished(
            number, state.name, value, counted=True, reason=attributes.get(PRUNE_REASON, "")
        )
        # Let go of in any case: it holds the weights of a whole network.
        trainer, objective.trainer = objective.trainer, None
        if state == TrialState.RUNNING:  # another worker has it, and all that belongs to it
            return
        told = {name: attributes[name] for name in (*UNITS, PRUNE_REASON) if name in attributes}
        tracker.trial_finished(attempt.root, number, state=state.name, value=value, tags=told)
        note = ""
        if state == TrialState.COMPLETE or PRUNE_REASON in attributes:
            curve = [] if trainer is None else trainer.evaluations
            note = showcase.trial_ended(trials, number, trainer, curve)
        track_progress(tracker, standing, note=note)
        if state.is_finished():
            checkpoints.remove(attempt.root)

    def hung(line: str) -> None:
        progress.closed()
        on_hang(line)

    fixed = settings.fixed_params
    points = grid(settings.model, settings.max_epochs) | {name: [fixed[name]] for name in fixed}
    tracker.open()
    try:
        ends.tell_all(study.get_trials(deepcopy=False))
        result = run_worker(
            study.study_name,
            storage,
            objective,
            make_sampler=lambda seed: make_sampler(
                settings.sampler, seed, grid=points, fixed_params=fixed
            ),
            pruner=PRUNERS[settings.pruner](task.max_steps),
            seed=settings.seed,
            points=params_keys(points) if settings.sampler == "grid" else None,
            checkpoint_step=checkpoints.step,
            on_end=on_end,
            on_wait=PauseNotice(progress),
            on_alive=progress.alive,
            on_hang=hung,
        )
        finished = result.verdict is Verdict.FINISHED
        trials = study.get_trials(deepcopy=False)
        ends.tell_all(trials)
        # Of all workers' last words the latest stays: the note goes with them once more.
        track_progress(
            tracker,
            standing_of(study, trials),
            note=note_in(storage.get_study_system_attrs(study._study_id)),
            state="COMPLETE" if finished else "WAITING",
        )
        if result.verdict is Verdict.EXHAUSTED:
            progress.message("the search ends early: every configuration has been tried")
        if result.verdict is Verdict.STOPPED:
            progress.message("the study was stopped: its own command goes on with it")
        return result
    finally:
        tracker.close()


class PauseNotice:
    """Says once that the study is paused, and again if it is another time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._is_paused = False

    def __call__(self, verdict: Verdict) -> None:
        is_paused = verdict is Verdict.PAUSED
        if is_paused and not self._is_paused:
            self._progress.message("the study is paused: `studies.py resume` goes on")
        self._is_paused = is_paused


def show_state(progress: Progress, standing: Standing) -> None:
    """Tell the display what all workers of the study have done so far."""
    progress.study_state(
        complete=standing.count(TrialState.COMPLETE),
        pruned=standing.count(TrialState.PRUNED),
        failed=standing.count(TrialState.FAIL),
        workers=1 + standing.count(TrialState.RUNNING),
        best=standing.best,
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
    first = next(iter(leaders(trials)), None)
    best = None if first is None else (first.number, first.values[0], first.params)
    progress.study_started(
        study.study_name,
        n_trials,
        complete=states[TrialState.COMPLETE],
        pruned=states[TrialState.PRUNED],
        failed=states[TrialState.FAIL],
        best=best,
        timeout_seconds=timeout_seconds,
    )


def _tags(study: optuna.Study, settings: StudySettings) -> dict[str, str]:
    """What all runs of the study say in MLflow."""
    tags = {"data_fingerprint": settings.data_fingerprint, "code_version": __version__}
    if origin := study.user_attrs.get(ORIGIN_KEY_ATTR):  # of a copy: whose runs these go on from
        tags[ORIGIN_KEY_ATTR] = file_name(origin)
    return tags


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: MLflow's parameters are a flat table."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
