"""Joining a study that another process started: everything but the paths comes from the study."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from search.display.progress import Progress, make_progress
from search.errors import SearchError, StudyDeleted
from search.folders import OutputFolder
from search.inputs import load_study_inputs, pick_device
from search.limits import UNITS
from search.objectives import METRIC_NAMES
from search.settings import StudySettings
from search.storage.budget import N_TRIALS, Verdict, count_states
from search.storage.control import control_of
from search.storage.identity import identity_of
from search.storage.opening import open_storage
from search.storage.operations import StudyStorage
from search.strategies import PRUNERS, SAMPLERS
from search.study import SETTINGS_ATTR, settings_to_join
from search.tracking.address import check_tracking
from search.tracking.client import default_tracking_uri
from search.workers.local import show_start, work

_POLL_SECONDS = 1.0
_RAISED_WITHIN_SECONDS = 60.0
_ENDED = (Verdict.STOPPED, Verdict.FAILED)


@dataclass(frozen=True)
class JoinOptions:
    """How a worker joins; None means as the study has it, or the default of the output folder.

    Attributes:
        key: Of the study that it has to be, as of a worker that a launch starts; None: any.
    """

    study_name: str
    storage_url: str | None
    data: str | None
    vectors: Path | None
    device: str
    out: Path
    tracking_uri: str | None
    wait: bool
    quiet: bool
    json: bool
    key: str | None = None


def join_study(options: JoinOptions) -> int:
    """Work on the study until its budget is used up; the exit status, 130 if interrupted.

    Raises:
        SearchError: There is no such study, its data or its search space are others than those
            here, or it was deleted since its settings were read.
        DataError: The data cannot be read here.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = OutputFolder(options.out)
    storage_url = options.storage_url or folder.storage_url
    tracking_uri = check_tracking(
        options.tracking_uri or default_tracking_uri(folder.root), storage_url
    )
    device = pick_device(options.device)
    folder.create()
    with make_progress(quiet=options.quiet, json_lines=options.json) as progress:
        storage = open_storage(storage_url)
        study = _find(storage, options, progress)
        storage.fence = identity_of(storage, study._study_id)
        if options.key not in (None, storage.fence.key):
            raise StudyDeleted
        settings = settings_to_join(study)
        _refuse_unknown(settings, options.study_name)
        inputs = load_study_inputs(
            settings,
            options.study_name,
            data=options.data,
            vectors=options.vectors,
            cache_folder=folder.cache,
            progress=progress,
        )
        show_start(progress, study, n_trials=study.user_attrs.get(N_TRIALS) or 0)
        if options.wait:
            _wait_for_launch(storage, study, progress)
            _wait_for_budget(storage, study)
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
    return 130 if result.verdict is None else 0


def _find(storage: StudyStorage, options: JoinOptions, progress: Progress) -> optuna.Study:
    told = False
    while True:
        try:
            study = optuna.load_study(study_name=options.study_name, storage=storage)
            if SETTINGS_ATTR in study.user_attrs or not options.wait:
                return study
        except KeyError:
            if not options.wait:
                raise SearchError(
                    f"there is no study {options.study_name!r} in {storage.display_url}; "
                    "check --study and --storage, or give --wait to wait for it"
                ) from None
        if not told:
            progress.message(f"waiting for study {options.study_name}")
            told = True
        time.sleep(_POLL_SECONDS)


def _refuse_unknown(settings: StudySettings, study_name: str) -> None:
    """Refuse what a launch of another version may have chosen."""
    for names, known in (
        ((settings.sampler,), SAMPLERS),
        ((settings.pruner,), PRUNERS),
        (settings.objectives, METRIC_NAMES),
        (tuple(settings.limits), UNITS),
    ):
        for name in names:
            if name not in known:
                raise SearchError(
                    f"study {study_name!r} has {name}, which this version of the program does not "
                    "know; join with the version that started it"
                )


def _wait_for_launch(storage: StudyStorage, study: optuna.Study, progress: Progress) -> None:
    """Wait while the study is stopped: for its command, or for `studies.py resume`."""
    told = False
    while (verdict := control_of(storage, study._study_id).verdict) in _ENDED:
        if not told:
            assert verdict is not None
            progress.message(f"{verdict.value}: waiting until it is started again")
            told = True
        time.sleep(_POLL_SECONDS)


def _wait_for_budget(storage: StudyStorage, study: optuna.Study) -> None:
    """Give a launch that is about to raise the budget of a finished study the time to do so."""
    deadline = time.monotonic() + _RAISED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        counts = count_states(storage, study._study_id)
        finished = counts.get(TrialState.COMPLETE, 0) + counts.get(TrialState.PRUNED, 0)
        n_trials = study.user_attrs.get(N_TRIALS)
        if n_trials is None or finished < n_trials:
            return
        time.sleep(_POLL_SECONDS)
