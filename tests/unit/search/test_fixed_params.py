"""Parameters that ``--set`` fixes: in every trial, whoever proposes it."""

from __future__ import annotations

import dataclasses

import pytest
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from search.errors import SearchError
from search.settings import StudySettings
from search.spaces import SEARCH_SPACES, Task, baselines, good_starts, grid
from search.storage.budget import Verdict, set_budget
from search.strategies import SAMPLERS, make_sampler
from search.study import BASELINE_ATTR, START_ATTR, as_students, open_study
from search.workers.attempt import params_key
from search.workers.loop import run_worker

TASK = Task(vocabulary_size=30, embedding_dim=8, num_classes=3, max_epochs=3)
SOME = {"num_layers": 1, "dropout": 0.25, "batch_size": 256}


@pytest.fixture
def run(storage, settings):
    """Run a study whose trials take no time: value and training are left out."""

    def start(n_trials, fixed, sampler="random", before=lambda study: None):
        own = dataclasses.replace(settings, fixed_params=fixed, sampler=sampler)
        study = open_study(storage, "mine", own, n_trials=n_trials)
        set_budget(storage, study._study_id, n_trials=n_trials)
        before(study)
        points = grid("mlp", 3) | {name: [value] for name, value in fixed.items()}

        def objective(attempt):
            config = attempt.suggest(lambda trial: SEARCH_SPACES["mlp"](trial, TASK), fixed)
            return config.model.dropout + config.training.learning_rate

        result = run_worker(
            "mine",
            storage,
            objective,
            make_sampler=lambda seed: make_sampler(sampler, seed, grid=points, fixed_params=fixed),
            pruner=NopPruner(),
            seed=0,
        )
        return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), result

    return start


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_leaves_fixed_parameters_alone_and_searches_the_others(run, sampler):
    # More than the samplers' random beginnings.
    fixed = SOME if sampler != "grid" else {"dropout": 0.25, "batch_size": 256}
    trials, _ = run(8 if sampler == "grid" else 13, fixed, sampler=sampler)
    assert trials
    assert all({name: t.params[name] for name in fixed} == fixed for t in trials)
    assert len({params_key(t.params) for t in trials}) == len(trials)
    assert len({t.params["learning_rate"] for t in trials}) > 1


def test_one_configuration_is_run_once_and_then_the_space_is_used_up(run):
    fixed = good_starts("mlp", 3)[0] | {"dropout": 0.1}
    trials, result = run(3, fixed)
    assert [t.params for t in trials] == [fixed]
    assert result.verdict is Verdict.EXHAUSTED


def test_a_queued_configuration_takes_the_fixed_values(run):
    def enqueue(study):
        study.enqueue_trial(good_starts("mlp", 3)[0] | {"dropout": 0.6})

    trials, _ = run(3, SOME, before=enqueue)
    assert {t.params["dropout"] for t in trials} == {0.25}


def test_a_small_space_beside_the_fixed_values_is_searched_to_its_end(run):
    fixed = {k: v for k, v in good_starts("mlp", 3)[0].items() if k != "batch_size"}
    trials, result = run(10, fixed)
    assert {t.params["batch_size"] for t in trials} == {128, 256, 512}
    assert result.verdict is Verdict.EXHAUSTED


@pytest.mark.parametrize(
    ("fixed", "names"),
    [
        ({"batch_size": 128}, {"dropout 0.3 batch 128 frozen", "dropout 0.3 batch 128 unfrozen"}),
        ({"dropout": 0.5}, set()),
        ({}, set(baselines("mlp", 3))),
    ],
)
def test_baselines_that_contradict_are_left_out(storage, settings, fixed, names):
    own = dataclasses.replace(settings, fixed_params=fixed)
    waiting = open_study(storage, "mine", own, n_trials=50).get_trials()
    assert {t.user_attrs.get(BASELINE_ATTR) for t in waiting} - {None} == names
    starts = [t.system_attrs["fixed_params"] for t in waiting if START_ATTR in t.user_attrs]
    assert starts == [params | fixed for params in good_starts("mlp", 3)]


def test_good_starts_that_differ_in_fixed_parameters_alone_are_one(storage, settings):
    own = dataclasses.replace(settings, fixed_params={"learning_rate": 0.01, "weight_decay": 0.1})
    waiting = open_study(storage, "mine", own, n_trials=50).get_trials()
    assert [t.user_attrs[START_ATTR] for t in waiting if START_ATTR in t.user_attrs] == [1]


def test_the_one_configuration_that_is_left_is_no_good_start(storage, settings):
    name, params = next(iter(baselines("mlp", 3).items()))
    own = dataclasses.replace(settings, fixed_params=params)
    (waiting,) = open_study(storage, "mine", own, n_trials=50).get_trials()
    assert waiting.user_attrs == as_students(name)


def test_a_study_goes_on_with_its_fixed_parameters_alone(storage, settings):
    own = dataclasses.replace(settings, fixed_params={"dropout": 0.3, "batch_size": 256})
    open_study(storage, "mine", own, n_trials=3)
    other_order = dataclasses.replace(own, fixed_params={"batch_size": 256, "dropout": 0.3})
    open_study(storage, "mine", StudySettings.from_json(other_order.to_json()), n_trials=3)
    with pytest.raises(SearchError, match=r"batch_size=256.*not none;.*--set"):
        open_study(storage, "mine", settings, n_trials=3)
