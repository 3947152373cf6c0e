"""Opening a study: created once, checked against its settings, the baselines enqueued first."""

from __future__ import annotations

import time
import uuid
import warnings
from typing import Any

import optuna
from optuna.storages import BaseStorage

from data_utils import PreparedData
from search.errors import SearchError
from search.settings import StudySettings
from search.spaces import Task, baselines, good_start
from search.storage.budget import EXHAUSTED

SETTINGS_ATTR = "settings"
BASELINE_ATTR = "baseline"
START_ATTR = "good_start"
# What a trial is called in tables: its configuration in some words.
NAME_ATTR = "name"
# Random: what tells a study from a later one of the same name.
KEY_ATTR = "key"
# How long the process that lost the race to create a study waits for the winner to describe it.
_DESCRIBED_WITHIN_SECONDS = 10.0


def open_study(
    storage: BaseStorage, study_name: str, settings: StudySettings, *, n_trials: int
) -> optuna.Study:
    """The study of this name, created if need be, whose trials can be compared with ours.

    Safe when several processes open the same new study at once.

    Raises:
        SearchError: It exists with another model or other data, or is no study of this program.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=study_name, direction="maximize")
        created = True
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=study_name)
        created = False
    stored = None if created else _stored_settings(study)
    if stored is None:
        _describe(study, settings, n_trials)
    else:
        settings.check_continues(stored, study_name)
        if settings != stored:  # another sampler or pruner from here on
            study.set_user_attr(SETTINGS_ATTR, settings.to_json())
            study.set_user_attr(EXHAUSTED, None)
    return study


def load_settings(study: optuna.Study) -> StudySettings:
    """The settings that the study was created with.

    Raises:
        SearchError: The study was made by another program, or by another version of this one.
    """
    text = study.user_attrs.get(SETTINGS_ATTR)
    if text is None:
        raise SearchError(
            f"study {study.study_name!r} was not made by this program; "
            "start another with --study NEW_NAME"
        )
    return StudySettings.from_json(text)


def task_of(settings: StudySettings, prepared: PreparedData) -> Task:
    """What the study's configurations take from its data."""
    return Task(
        vocabulary_size=len(prepared.vocabulary),
        embedding_dim=settings.embedding_dim,
        num_classes=len(prepared.labels),
        max_epochs=settings.max_epochs,
        seed=settings.seed,
    )


def _stored_settings(study: optuna.Study) -> StudySettings | None:
    """The settings in the storage; None if its creator died before it wrote them."""
    deadline = time.monotonic() + _DESCRIBED_WITHIN_SECONDS
    while SETTINGS_ATTR not in study.user_attrs:
        trials = study.get_trials(deepcopy=False)
        if any(t.user_attrs.keys().isdisjoint((BASELINE_ATTR, START_ATTR)) for t in trials):
            return load_settings(study)  # somebody else's study: says so
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)
    return load_settings(study)


def _describe(study: optuna.Study, settings: StudySettings, n_trials: int) -> None:
    # The settings come last: a process that finds them knows that the first trials are enqueued.
    first: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (params, {BASELINE_ATTR: name})
        for name, params in baselines(settings.model, settings.max_epochs).items()
    ]
    first.append((good_start(settings.model, settings.max_epochs), {START_ATTR: True}))
    # A grid is walked point by point: nothing comes before it.
    for params, attributes in first[:n_trials] if settings.sampler != "grid" else ():
        study.enqueue_trial(params, user_attrs=attributes, skip_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(["validation balanced accuracy"])  # for the dashboard's axes
    study.set_user_attr(KEY_ATTR, uuid.uuid4().hex)
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
