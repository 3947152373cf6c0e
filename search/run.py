"""One search, from the user's options to the closing table."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import optuna
import torch

from search.dashboard.note import start_note
from search.display.console import console
from search.display.progress import Progress, make_progress
from search.display.summary import print_summary
from search.folders import OutputFolder
from search.inputs import Inputs, load_inputs, pick_device
from search.options import SearchOptions
from search.settings import StudySettings
from search.spaces import DEFAULT_EPOCHS
from search.storage.budget import set_budget
from search.storage.opening import open_storage, redact
from search.study import KEY_ATTR, open_study
from search.tracking.client import default_tracking_uri, runs_page
from search.workers.fleet import Fleet
from search.workers.local import show_start, work


def run_search(options: SearchOptions) -> int:
    """Run the search to the end of its budget; the exit status, 130 if it was interrupted.

    Raises:
        SearchError, DataError: The user can do something about it.
    """
    options.check()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    device = pick_device(options.device)
    folder = OutputFolder(options.out)
    folder.create()
    storage_url = options.storage_url or folder.storage_url
    tracking_uri = options.tracking_uri or default_tracking_uri(folder.root)
    with make_progress(quiet=options.quiet, json_lines=options.json) as progress:
        progress.preparing("opening the storage")
        storage = open_storage(storage_url)
        inputs = load_inputs(
            options.data,
            options.vectors,
            options.embedding_dim,
            cache_folder=folder.cache,
            progress=progress,
        )
        settings = settings_of(options, inputs)
        study_name = options.study_name or f"{options.model}-{inputs.prepared.name}"
        study = open_study(storage, study_name, settings, n_trials=options.n_trials)
        set_budget(
            storage,
            study._study_id,
            n_trials=options.n_trials,
            timeout_seconds=options.timeout_seconds,
        )
        start_note(storage, study, settings, inputs.prepared)
        show_start(
            progress, study, n_trials=options.n_trials, timeout_seconds=options.timeout_seconds
        )
        if options.num_workers > 1:
            finished = _fleet(options, study_name, storage_url, tracking_uri, progress).run()
        else:
            result = work(
                study,
                storage,
                settings,
                inputs,
                folder=folder,
                tracking_uri=tracking_uri,
                device=device,
                progress=progress,
            )
            finished = result.verdict is not None
    if not options.quiet and not options.json:
        commands = next_commands(
            redact(storage_url), redact(tracking_uri), folder, study_key=study.user_attrs[KEY_ATTR]
        )
        print_summary(console(), study, next_commands=commands)
    return 0 if finished else 130


def _fleet(
    options: SearchOptions,
    study_name: str,
    storage_url: str,
    tracking_uri: str,
    progress: Progress,
) -> Fleet:
    num_gpus = torch.cuda.device_count() if options.device == "auto" else 0
    arguments = ["--study", study_name, "--out", str(options.out), "--json"]
    threads = max(1, len(os.sched_getaffinity(0)) // options.num_workers)
    return Fleet(
        options.num_workers,
        arguments=arguments,
        # URLs may hold passwords, and arguments are for everybody on the machine to read.
        environment={
            "STORAGE_URL": storage_url,
            "MLFLOW_TRACKING_URI": tracking_uri,
            "OMP_NUM_THREADS": str(threads),
        },
        devices=[f"cuda:{index}" for index in range(num_gpus)] or [options.device],
        progress=progress,
    )


def settings_of(options: SearchOptions, inputs: Inputs) -> StudySettings:
    """The definition of the study that the options ask for."""
    return StudySettings(
        model=options.model,
        data=asdict(options.data),
        data_name=inputs.prepared.name,
        data_fingerprint=inputs.prepared.fingerprint,
        vectors=None if options.vectors is None else str(options.vectors),
        embedding_dim=inputs.vectors.matrix.shape[1],
        vectors_fingerprint=inputs.vectors.fingerprint,
        max_epochs=options.max_epochs or DEFAULT_EPOCHS[options.model],
        seed=options.seed,
        sampler=options.sampler,
        pruner=options.pruner,
    )


def next_commands(
    storage_url: str, tracking_uri: str, folder: OutputFolder, *, study_key: str
) -> list[str]:
    """What to type to see the study in a browser."""
    programs = Path(sys.executable).parent
    if programs.is_relative_to(Path.cwd()):
        programs = programs.relative_to(Path.cwd())
    dashboard = [f"{programs}/optuna-dashboard", storage_url]
    commands = [shlex.join([*dashboard, "--artifact-dir", str(folder.dashboard_artifacts)])]
    page = runs_page(tracking_uri, folder.tracking_events, study_key)
    if tracking_uri.startswith(("http://", "https://")):  # a server that runs already
        return [*commands, f"open {page or tracking_uri}"]
    mlflow = [f"{programs}/mlflow", "ui", "--workers", "1", "--backend-store-uri", tracking_uri]
    return [*commands, shlex.join(mlflow), *([f"and open {page}"] if page else [])]
