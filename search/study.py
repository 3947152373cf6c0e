"""Opening a study: created once, checked against its settings, its first trials enqueued."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from data_utils import DataSpec, PreparedData
from search.configurations import is_complete
from search.errors import SearchError, StudyDeleted
from search.names import check_study_name
from search.objectives import METRIC_NAMES, directions_of
from search.settings import StudySettings, stored_settings
from search.spaces import CONSTANT_RATE_ATTR, SPACE_VERSIONS, Task, baselines, good_starts
from search.storage import identity
from search.storage.budget import EXHAUSTED
from search.storage.operations import StudyStorage
from search.storage.trial_queue import enqueue

SETTINGS_ATTR = "settings"
BASELINE_ATTR = "baseline"
START_ATTR = "good_start"
WARM_START_ATTR = "warm_start"
# What a trial is called in tables: its configuration in some words.
NAME_ATTR = "name"
# A system attribute, which dashboards do not list: the first trials, those included that the
# budget had no room for. Studies of earlier versions have it among their user attributes.
FIRST_ATTR = "first_trials"
# Random: what tells a study from a later one of the same name, and from its copies.
KEY_ATTR = identity.KEY_ATTR
# Of a copy: the key of the study that it was copied from, whose checkpoints and runs in MLflow
# are found by it. They are that study's: the copy reads them, and writes and removes its own.
ORIGIN_KEY_ATTR = "origin_key"
_FIRST = (BASELINE_ATTR, START_ATTR, WARM_START_ATTR)
# How long the process that lost the race to create a study waits for the winner to describe it.
_DESCRIBED_WITHIN_SECONDS = 10.0

#: Parameters and user attributes of a trial that waits to be run.
Enqueued = tuple[dict[str, Any], dict[str, Any]]


def open_study(
    storage: StudyStorage,
    study_name: str,
    settings: StudySettings,
    *,
    n_trials: int,
    first: Sequence[Enqueued] | None = None,
) -> optuna.Study:
    """The study of this name, created if need be, whose trials can be compared with ours.

    A new one starts with the first ``n_trials`` of ``first``, by default ``own_first_trials``;
    the others follow when the study is opened with more trials. Safe when several processes open
    the same new study at once. From then on the storage is fenced: it serves this study alone.

    Raises:
        SearchError: It exists with another model or other data, or is no study of this program; or
            nothing can have this name.
    """
    check_study_name(study_name)
    storage.fence = None
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=study_name,
            directions=directions_of(settings.objectives),
        )
        is_described = False
    except optuna.exceptions.DuplicatedStudyError:
        try:
            study = optuna.load_study(storage=storage, study_name=study_name)
            is_described = _is_described(study)
        except KeyError:
            raise StudyDeleted from None
    storage.fence = identity.give_key(storage, study._study_id)
    if not is_described:
        if first is None:
            first = own_first_trials(settings)
        _describe(storage, study, settings, first, n_trials)
        return study
    stored = load_settings(study)
    settings.check_continues(stored, study_name)
    if settings.sampler != "grid":
        _enqueue_rest(storage, study, n_trials)
    if settings != stored:  # another sampler or pruner from here on
        study.set_user_attr(SETTINGS_ATTR, settings.to_json())
        study.set_user_attr(EXHAUSTED, None)
    return study


def spec_of_study(storage: StudyStorage, study_name: str, spec: DataSpec) -> DataSpec:
    """``spec`` with the cleaning's version that a study of this name was started with, if any.

    Raises:
        SearchError: The study's settings cannot be read.
    """
    try:
        study = optuna.load_study(storage=storage, study_name=study_name)
        if SETTINGS_ATTR not in study.user_attrs:  # another program's, or just being made
            return spec
        stored = load_settings(study)
    except KeyError:  # there is none, or none any more
        return spec
    version = stored.data_spec().cleaning.version
    return replace(spec, cleaning=replace(spec.cleaning, version=version))


def load_settings(study: optuna.Study) -> StudySettings:
    """The settings that the study was created with.

    Raises:
        SearchError: The study was made by another program, or by another version of this one.
    """
    text = study.user_attrs.get(SETTINGS_ATTR)
    if stored_settings(text) is None:
        raise SearchError(
            f"study {study.study_name!r} was not made by this program; "
            "start another with --study NEW_NAME"
        )
    return StudySettings.from_json(text)


def settings_to_join(study: optuna.Study) -> StudySettings:
    """As ``load_settings``, of a study to which trials are to be added.

    Raises:
        SearchError: As ``load_settings``; or its search space is another than this version's.
    """
    stored = load_settings(study)
    space = SPACE_VERSIONS.get(stored.model, 0)
    replace(stored, space=space).check_continues(stored, study.study_name)
    return stored


def limits_in(study: optuna.Study) -> dict[str, float]:
    """The study's limits by the names of ``search.limits.UNITS``, whoever made it."""
    stored = stored_settings(study.user_attrs.get(SETTINGS_ATTR))
    return dict((stored or {}).get("limits", {}))


def task_of(settings: StudySettings, prepared: PreparedData) -> Task:
    """What the study's configurations take from its data."""
    return Task(
        vocabulary_size=len(prepared.vocabulary),
        embedding_dim=settings.embedding_dim,
        num_classes=len(prepared.labels),
        max_epochs=settings.max_epochs,
        seed=settings.seed,
        space=settings.space,
    )


def _is_described(study: optuna.Study) -> bool:
    """Whether its settings are there; not if its creator died before it wrote them."""
    deadline = time.monotonic() + _DESCRIBED_WITHIN_SECONDS
    while SETTINGS_ATTR not in study.user_attrs:
        trials = study.get_trials(deepcopy=False)
        if any(t.user_attrs.keys().isdisjoint(_FIRST) for t in trials):
            load_settings(study)  # somebody else's study: says so
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def own_first_trials(settings: StudySettings) -> list[Enqueued]:
    """What a study of these settings starts with, unless it is told otherwise."""
    return first_trials(
        settings.model,
        settings.max_epochs,
        sampler=settings.sampler,
        fixed=settings.fixed_params,
    )


def as_students(name: str) -> dict[str, Any]:
    """The user attributes of a configuration of the students, trained as they did."""
    return {BASELINE_ATTR: name, CONSTANT_RATE_ATTR: True}


def first_trials(
    model: str, max_epochs: int, *, sampler: str, fixed: Mapping[str, Any]
) -> list[Enqueued]:
    """The good starts, and the baselines as far as they have the fixed parameters' values."""
    if sampler == "grid":  # walked point by point: nothing comes before it
        return []
    first: list[Enqueued] = []
    if not is_complete(fixed, model, max_epochs):
        for number, params in enumerate(good_starts(model, max_epochs), start=1):
            start = {**params, **fixed}
            if start not in (other for other, _ in first):  # all they differ in may be fixed
                first.append((start, {START_ATTR: number}))
    first += [
        (params, as_students(name))
        for name, params in baselines(model, max_epochs).items()
        if all(params.get(key, value) == value for key, value in fixed.items())
    ]
    return first


def _enqueue_rest(storage: StudyStorage, study: optuna.Study, n_trials: int) -> None:
    """Queue the first trials for which the budget had no room when the study was made."""
    stored = storage.get_study_system_attrs(study._study_id).get(FIRST_ATTR)
    first = study.user_attrs.get(FIRST_ATTR, []) if stored is None else stored
    for params, attributes in first[:n_trials]:
        enqueue(storage, study._study_id, params, user_attrs=attributes, once=True)


def _describe(
    storage: StudyStorage,
    study: optuna.Study,
    settings: StudySettings,
    first: Sequence[Enqueued],
    n_trials: int,
) -> None:
    # The settings come last: a process that finds them knows that the first trials are enqueued.
    for params, attributes in first[:n_trials]:
        study.enqueue_trial(params, user_attrs=attributes, skip_if_exists=True)
    storage.set_study_system_attr(study._study_id, FIRST_ATTR, first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # For the dashboard's axes.
        study.set_metric_names([METRIC_NAMES[name] for name in settings.objectives])
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
