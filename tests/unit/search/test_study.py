"""Opening a study: once created, once described, and never mixed with another."""

from __future__ import annotations

import dataclasses
import multiprocessing
import threading

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

import search.study
from data_utils import Cleaning, DataSpec
from search.errors import SearchError, StudyDeleted
from search.spaces import baselines, good_starts
from search.storage.opening import open_storage
from search.study import (
    BASELINE_ATTR,
    FIRST_ATTR,
    KEY_ATTR,
    SETTINGS_ATTR,
    START_ATTR,
    load_settings,
    open_study,
    spec_of_study,
)


def enqueued(study):
    """The fixed parameters of the waiting trials and the baselines' names."""
    trials = study.get_trials(states=(TrialState.WAITING,))
    return [(t.system_attrs["fixed_params"], t.user_attrs.get(BASELINE_ATTR)) for t in trials]


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_new_study_starts_with_the_good_starts_then_the_baselines_by_name(
    storage, settings, model
):
    settings = dataclasses.replace(settings, model=model)
    study = open_study(storage, "mine", settings, n_trials=50)
    starts = [(params, None) for params in good_starts(model, 3)]
    named = [(params, name) for name, params in baselines(model, 3).items()]
    assert enqueued(study) == [*starts, *named]


def test_a_study_is_maximised_and_keeps_its_settings(storage, settings):
    open_study(storage, "mine", settings, n_trials=50)
    study = optuna.load_study(study_name="mine", storage=storage)
    assert study.direction == StudyDirection.MAXIMIZE
    assert load_settings(study) == settings


def test_no_more_trials_are_enqueued_than_asked_for(storage, settings):
    assert len(enqueued(open_study(storage, "mine", settings, n_trials=2))) == 2


def test_first_trials_that_had_no_room_follow_when_the_budget_is_raised(storage, settings):
    study = open_study(storage, "mine", settings, n_trials=2)
    open_study(storage, "mine", settings, n_trials=3)
    assert len(enqueued(study)) == 3
    for _ in range(2):
        open_study(storage, "mine", settings, n_trials=50)
    whole = open_study(storage, "other", settings, n_trials=50)
    assert enqueued(study) == enqueued(whole)


def test_dashboards_are_not_shown_the_list_of_first_trials(storage, settings):
    study = open_study(storage, "mine", settings, n_trials=2)
    assert set(study.user_attrs) == {SETTINGS_ATTR, KEY_ATTR}


def test_a_study_of_earlier_versions_has_that_list_among_its_user_attributes(storage, settings):
    study = open_study(storage, "mine", settings, n_trials=1)
    of_study = storage.get_study_system_attrs(study._study_id)
    storage.set_study_system_attr(study._study_id, FIRST_ATTR, None)
    study.set_user_attr(FIRST_ATTR, of_study[FIRST_ATTR])
    open_study(storage, "mine", settings, n_trials=3)
    assert len(enqueued(study)) == 3


def test_before_a_grid_comes_nothing(storage, settings):
    grid = dataclasses.replace(settings, sampler="grid")
    assert enqueued(open_study(storage, "mine", grid, n_trials=50)) == []


def test_opening_a_study_again_changes_nothing(storage, settings):
    first = open_study(storage, "mine", settings, n_trials=50)
    before, attributes = enqueued(first), first.user_attrs
    again = open_study(storage, "mine", settings, n_trials=50)
    assert enqueued(again) == before
    assert again.user_attrs == attributes
    assert again.user_attrs[KEY_ATTR]


def test_a_later_study_of_the_same_name_has_another_key(storage, settings):
    first = open_study(storage, "mine", settings, n_trials=1).user_attrs[KEY_ATTR]
    optuna.delete_study(study_name="mine", storage=storage)
    assert open_study(storage, "mine", settings, n_trials=1).user_attrs[KEY_ATTR] != first


def test_a_study_with_other_data_is_refused_and_left_as_it_was(storage, settings):
    study = open_study(storage, "mine", settings, n_trials=50)
    before = enqueued(study)
    other = dataclasses.replace(settings, data_fingerprint="d2")
    with pytest.raises(SearchError, match="study 'mine' exists with data fingerprint.*--data"):
        open_study(storage, "mine", other, n_trials=50)
    assert load_settings(study) == settings and enqueued(study) == before


def test_a_study_of_another_program_is_refused_and_left_as_it_was(storage, settings):
    foreign = optuna.create_study(study_name="mine", storage=storage)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(SearchError, match="'mine' was not made by this program.*--study"):
        open_study(storage, "mine", settings, n_trials=50)
    assert len(foreign.trials) == 1 and foreign.user_attrs == {}


def test_what_a_dead_creator_left_undone_is_completed(storage, settings, monkeypatch):
    monkeypatch.setattr(search.study, "_DESCRIBED_WITHIN_SECONDS", 0.2)
    study = optuna.create_study(study_name="mine", storage=storage, direction="maximize")
    study.enqueue_trial(good_starts("mlp", 3)[0], user_attrs={START_ATTR: True})
    whole = open_study(storage, "other", settings, n_trials=50)
    assert enqueued(open_study(storage, "mine", settings, n_trials=50)) == enqueued(whole)
    assert load_settings(study) == settings


def test_a_study_that_is_deleted_while_it_is_waited_for_is_one_line(storage, settings, tmp_path):
    optuna.create_study(study_name="mine", storage=storage, direction="maximize")
    another = open_storage(f"sqlite:///{tmp_path}/study.db")
    delete = threading.Timer(
        0.5, optuna.delete_study, kwargs={"study_name": "mine", "storage": another}
    )
    delete.start()
    with pytest.raises(StudyDeleted):
        open_study(storage, "mine", settings, n_trials=1)
    delete.join()
    another.close()


def _open_when_all_are_there(url, settings, barrier):
    storage = open_storage(url)
    barrier.wait(30)
    count = len(good_starts("mlp", 3)) + len(baselines("mlp", 3))
    open_study(storage, "mine", settings, n_trials=count)
    storage.close()


def test_processes_that_open_a_new_study_at_once_enqueue_the_baselines_once(tmp_path, settings):
    url = f"sqlite:///{tmp_path}/new.db"
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)
    openers = [
        fork.Process(target=_open_when_all_are_there, args=(url, settings, barrier))
        for _ in range(2)
    ]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0, 0]
    storage = open_storage(url)
    study = optuna.load_study(study_name="mine", storage=storage)
    names = [name for _, name in enqueued(study)]
    storage.close()
    assert names == [*(None for _ in good_starts("mlp", 3)), *baselines("mlp", 3)]


def test_a_study_goes_on_with_the_cleaning_that_it_was_made_with(storage, settings):
    data = dataclasses.asdict(DataSpec(source="titles.csv"))
    del data["cleaning"]["version"]  # as it was stored before there were any
    spec = DataSpec(source="moved.csv", min_count=2)
    assert spec_of_study(storage, "mine", spec) == spec
    open_study(storage, "mine", dataclasses.replace(settings, data=data), n_trials=5)
    first = dataclasses.replace(spec, cleaning=Cleaning(version=1))
    assert spec_of_study(storage, "mine", spec) == first
    assert spec_of_study(storage, "another", spec) == spec


def test_a_study_of_another_program_has_no_cleaning_to_go_on_with(storage):
    optuna.create_study(storage=storage, study_name="theirs")
    assert spec_of_study(storage, "theirs", DataSpec()) == DataSpec()
