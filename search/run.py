"""One search, from the user's options to the closing table."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import torch

from data_utils.sources import source_name
from search.dashboard.note import start_note
from search.display.console import console
from search.display.progress import Progress, make_progress
from search.display.summary import print_summary
from search.errors import PoisonedStudy, SearchError
from search.folders import DEFAULT_OUT, OutputFolder
from search.inputs import load_inputs, pick_device
from search.join import JoinOptions
from search.limits import check_reachable
from search.objectives import leaders
from search.options import SearchOptions
from search.redaction import redact
from search.settings import StudySettings
from search.spaces import SPACE_VERSIONS
from search.storage.budget import EXHAUSTED, Verdict, set_budget
from search.storage.connecting import absolute
from search.storage.control import lift_stop
from search.storage.opening import is_proxy, open_storage
from search.storage.operations import StudyStorage
from search.study import (
    KEY_ATTR,
    ORIGIN_KEY_ATTR,
    Enqueued,
    open_study,
    own_first_trials,
    spec_of_study,
    task_of,
)
from search.tracking.address import check_tracking
from search.tracking.client import checked_tracking_uri, default_tracking_uri, runs_page
from search.warm_start import enqueue_best, starting_with, take_best
from search.workers.attempt import params_key
from search.workers.fleet import Fleet
from search.workers.local import show_start, work
from search.workers.restart import launch_name, restarts, start_again

if TYPE_CHECKING:
    from search.workers.ray_fleet import RayFleet


def run_search(options: SearchOptions) -> int:
    """Run the search to the end of its budget; the exit status, 130 if it was interrupted.

    Raises:
        SearchError, DataError: The user can do something about it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.check()
    with make_progress(quiet=options.quiet, json_lines=options.json) as progress:
        study, finished = run_study(options, progress)
        has_best = bool(leaders(study.get_trials(deepcopy=False)))
        page = _report(options, study, progress) if finished and has_best else None
    if not options.quiet and not options.json:
        folder = OutputFolder(options.out)
        storage_url = options.storage_url or folder.storage_url
        tracking_uri = options.tracking_uri or default_tracking_uri(folder.root)
        commands = next_commands(
            redact(storage_url),
            redact(tracking_uri),
            folder,
            study_name=study.study_name if has_best else None,
            study_key=study.user_attrs[KEY_ATTR],
            origin_key=study.user_attrs.get(ORIGIN_KEY_ATTR),
        )
        print_summary(console(), study, report=page, next_commands=commands)
    return 0 if finished else 130


def _report(options: SearchOptions, study: optuna.Study, progress: Progress) -> Path | None:
    """The page about the study as it stands now; None where none can be made."""
    if options.storage_url and is_proxy(options.storage_url):  # it wants the database itself
        return None
    from search.results.opened import open_existing
    from search.results.report.writing import bring_up_to_date

    try:
        opened = open_existing(
            study.study_name, options.storage_url, out=options.out, progress=progress
        )
        return bring_up_to_date(opened)
    except SearchError as error:
        progress.message(f"no report: {error}")
        return None


def run_study(
    options: SearchOptions,
    progress: Progress,
    *,
    only: Sequence[Enqueued] | None = None,
    prefix: str = "",
) -> tuple[optuna.Study, bool]:
    """Run the study of checked options; with ``only``, these trials and no others.

    ``prefix`` is put before the study's name, unless the options say that.

    Returns:
        The study, and whether it came to its end; if not, it was interrupted.

    Raises:
        SearchError, DataError: As ``run_search``.
    """
    width = options.vectors_width  # a file that cannot be read is refused before anything is done
    folder = OutputFolder(options.out)
    storage_url = options.storage_url or folder.storage_url
    tracking_uri = check_tracking(
        options.tracking_uri or default_tracking_uri(folder.root), storage_url
    )
    taken = take_best(options)
    device = pick_device(options.device)
    folder.create()
    progress.preparing("opening the storage")
    if options.launcher == "ray":
        from search.workers.ray_fleet import connect

        connect(options.ray_address, storage_url)
    storage = open_storage(storage_url)
    draft = _draft(options)
    name = options.study_name or prefix + default_study_name(draft)
    data = spec_of_study(storage, name, options.data)
    inputs = load_inputs(
        data,
        options.vectors,
        options.embedding_dim,
        cache_folder=folder.cache,
        progress=progress,
        check=lambda prepared: check_reachable(
            options.limits, vocabulary_size=len(prepared.vocabulary), embedding_dim=width
        ),
    )
    settings = replace(
        draft,
        data=asdict(data),
        data_fingerprint=inputs.prepared.fingerprint,
        embedding_dim=inputs.vectors.matrix.shape[1],
        vectors_fingerprint=inputs.vectors.fingerprint,
    )
    task = task_of(settings, inputs.prepared)
    first = starting_with(taken, own_first_trials(settings)) if only is None else only
    n_trials = options.budget if only is None else len(only)
    study = open_study(storage, name, settings, n_trials=n_trials, first=first)
    if only is not None:  # nothing is sampled, not even in place of one that failed
        study.set_user_attr(EXHAUSTED, True)
    if taken is not None and enqueue_best(study, taken, n_trials=n_trials):
        progress.remark(taken.describe())
    _set_budget(options, storage, study, n_trials=n_trials)
    start_note(storage, study, settings, inputs.prepared)
    timeout = options.timeout_seconds
    show_start(progress, study, n_trials=n_trials, timeout_seconds=timeout)
    if options.launcher == "ray":
        return study, _ray_fleet(options, study, progress, max_steps=task.max_steps).run()
    if options.num_workers > 1:
        return study, _fleet(options, study, progress).run()
    result = work(
        study,
        storage,
        settings,
        inputs,
        folder=folder,
        tracking_uri=tracking_uri,
        device=device,
        progress=progress,
        on_hang=start_again,
    )
    return study, result.verdict is not None


def _set_budget(
    options: SearchOptions, storage: StudyStorage, study: optuna.Study, *, n_trials: int
) -> None:
    if restarts():  # the same launch: neither its time nor its failures begin anew
        return
    set_budget(
        storage,
        study._study_id,
        n_trials=n_trials,
        timeout_seconds=options.timeout_seconds,
        trial_timeout_seconds=options.trial_timeout_seconds,
        hang_timeout_seconds=options.hang_timeout_seconds,
    )
    control = lift_stop(storage, study._study_id, launch=launch_name())
    if control.verdict is Verdict.FAILED:
        raise PoisonedStudy(
            f"{control.failure}; this launch was started again by its supervisor, which does not "
            "lift that: `studies.py resume` does"
        )


def _fleet(options: SearchOptions, study: optuna.Study, progress: Progress) -> Fleet:
    folder = OutputFolder(options.out)
    num_gpus = torch.cuda.device_count() if options.device == "auto" else 0
    key = study.user_attrs[KEY_ATTR]
    arguments = ["--study", study.study_name, "--key", key, "--out", str(options.out), "--json"]
    threads = max(1, len(os.sched_getaffinity(0)) // options.num_workers)
    return Fleet(
        options.num_workers,
        arguments=arguments,
        # URLs may hold passwords, and arguments are for everybody on the machine to read.
        environment={
            "STORAGE_URL": options.storage_url or folder.storage_url,
            "MLFLOW_TRACKING_URI": options.tracking_uri or default_tracking_uri(folder.root),
            "OMP_NUM_THREADS": str(threads),
        },
        devices=[f"cuda:{index}" for index in range(num_gpus)] or [options.device],
        progress=progress,
    )


def _ray_fleet(
    options: SearchOptions, study: optuna.Study, progress: Progress, *, max_steps: int
) -> RayFleet:
    from search.workers.ray_fleet import RayFleet, join
    from search.workers.watch import StudyWatch

    folder = OutputFolder(options.out.absolute())
    # The cluster's processes have working folders of their own.
    source = Path(options.data.source)
    joining = JoinOptions(
        study_name=study.study_name,
        storage_url=absolute(options.storage_url or folder.storage_url),
        data=str(source.absolute()) if options.data.source != "sat" and source.exists() else None,
        vectors=None if options.vectors is None else options.vectors.absolute(),
        device=options.device,
        out=folder.root,
        tracking_uri=checked_tracking_uri(
            options.tracking_uri or default_tracking_uri(folder.root)
        ),
        wait=False,
        quiet=True,
        json=False,
        key=study.user_attrs[KEY_ATTR],
    )
    return RayFleet(
        options.num_workers,
        work=partial(join, joining),
        on_gpus=options.device in ("auto", "cuda"),
        watch=StudyWatch(study, progress, max_steps=max_steps),
        progress=progress,
    )


def _draft(options: SearchOptions) -> StudySettings:
    """What the options say before the data are read: without fingerprints."""
    return StudySettings(
        model=options.model,
        data=asdict(options.data),
        data_name=source_name(options.data),
        data_fingerprint="",
        vectors=None if options.vectors is None else str(options.vectors),
        embedding_dim=options.embedding_dim or 0,
        vectors_fingerprint="",
        max_epochs=options.epochs,
        seed=options.seed,
        sampler=options.sampler,
        pruner=options.pruner,
        space=SPACE_VERSIONS[options.model],
        fixed_params=options.fixed_params,
        objectives=options.objectives,
        limits=dict(options.limits),
    )


def default_study_name(settings: StudySettings) -> str:
    """Model and data; and for other objectives, limits or each set of fixed parameters another."""
    name = settings.usual_name
    if settings.fixed_params:
        name += f"-set-{params_key(settings.fixed_params)[:6]}"
    return name


def next_commands(
    storage_url: str,
    tracking_uri: str,
    folder: OutputFolder,
    *,
    study_name: str | None,
    study_key: str,
    origin_key: str | None = None,
) -> list[str]:
    """What to type to see the study in a browser; its report, if it has a name."""
    programs = _from_here(Path(sys.executable).parent)
    script = _from_here(Path(__file__).parents[1] / "studies.py")
    where = [] if folder.root == DEFAULT_OUT else ["--out", str(folder.root)]
    where += [] if storage_url == folder.storage_url else ["--storage", storage_url]
    words = [["dashboard"]]
    if study_name is not None and not is_proxy(storage_url):  # a report wants the database itself
        words.insert(0, ["report", "--study", study_name])
    commands = [shlex.join([f"{programs}/python", str(script), *of, *where]) for of in words]
    page = runs_page(tracking_uri, folder.tracking_events, study_key, origin_key)
    if tracking_uri.startswith(("http://", "https://")):  # a server that runs already
        return [*commands, f"open {page or tracking_uri}"]
    mlflow = [f"{programs}/mlflow", "ui", "--workers", "1", "--backend-store-uri", tracking_uri]
    return [*commands, shlex.join(mlflow), *([f"and open {page}"] if page else [])]


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
