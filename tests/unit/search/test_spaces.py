"""The search spaces: every configuration that we name lies within them."""

from __future__ import annotations

import dataclasses
import itertools
import typing

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

import studies
from models import MODELS, build_model
from search.spaces import (
    BATCH_SIZES,
    DEFAULT_EPOCHS,
    EVALUATIONS_PER_EPOCH,
    FILTER_LENGTHS,
    NAMED,
    SEARCH_SPACES,
    SPACE_VERSIONS,
    Task,
    baselines,
    good_starts,
    grid,
)
from search.strategies import PRUNERS, SAMPLERS
from search.study import BASELINE_ATTR, open_study

EPOCHS = (1, 2, 3, 5, 12)
models_and_epochs = pytest.mark.parametrize(
    ("model", "max_epochs"), [*itertools.product(sorted(MODELS), EPOCHS)]
)


def task(max_epochs=5, **facts):
    return Task(vocabulary_size=30, embedding_dim=8, num_classes=3, max_epochs=max_epochs, **facts)


def asked_for(model, params, max_epochs=5):
    """The config of ``params`` and the parameters that the space asked for.

    FixedTrial warns, which fails a test, where a value is outside of the space.
    """
    trial = FixedTrial(params)
    config = SEARCH_SPACES[model](trial, task(max_epochs))
    return config, trial.params


def choices(name):
    """What the command line accepts for an option."""
    hint = typing.get_type_hints(studies.search)[name]
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return {value for kind in kinds for value in typing.get_args(kind) or [kind]}


def test_every_model_has_a_space_epochs_and_named_configurations():
    assert set(MODELS) == set(SEARCH_SPACES) == set(DEFAULT_EPOCHS) == set(NAMED)
    assert set(SPACE_VERSIONS) == set(MODELS)


def test_the_command_line_offers_all_models_samplers_and_pruners_and_no_others():
    assert choices("model") == set(MODELS)
    assert choices("sampler") == set(SAMPLERS)
    assert choices("pruner") == set(PRUNERS)


@models_and_epochs
def test_every_baseline_is_in_the_space_and_says_all_that_is_asked(model, max_epochs):
    found = baselines(model, max_epochs)
    assert found
    for params in found.values():
        assert asked_for(model, params, max_epochs)[1] == params


@models_and_epochs
def test_good_starts_are_in_the_space_and_say_all_that_is_asked(model, max_epochs):
    for params in good_starts(model, max_epochs):
        assert asked_for(model, params, max_epochs)[1] == params


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_value_outside_of_the_space_is_noticed(model):
    params = good_starts(model, 5)[0] | {"dropout": 0.99}
    with pytest.raises(UserWarning, match="dropout"):
        asked_for(model, params)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_point_of_the_grid_is_in_the_space_and_says_all_that_is_asked(model):
    points = grid(model, 5)
    for values in itertools.product(*points.values()):
        params = dict(zip(points, values, strict=True))
        assert asked_for(model, params, DEFAULT_EPOCHS[model])[1] == params


def test_the_baselines_are_the_students_networks():
    mlps = [asked_for("mlp", params)[0] for params in baselines("mlp", 5).values()]
    assert {c.model.hidden_sizes for c in mlps} == {(512, 256, 256, 128)}
    assert {(c.training.batch_size, c.model.freeze_embeddings) for c in mlps} == {
        (128, False),
        (128, True),
        (256, False),
        (256, True),
    }
    cnns = [asked_for("cnn", params)[0] for params in baselines("cnn", 5).values()]
    assert [(c.model.num_filters, c.model.filter_lengths) for c in cnns] == [
        (100, (2, 3, 4)),
        (200, (4, 6, 7)),
    ]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_baselines_keep_their_learning_rate_and_other_trials_let_it_fall(model, storage, settings):
    settings = dataclasses.replace(settings, model=model)
    study = open_study(storage, "s", settings, n_trials=50)
    for _ in study.trials:
        trial = study.ask()
        config = SEARCH_SPACES[model](trial, task())
        assert config.training.decay == (BASELINE_ATTR not in trial.user_attrs)
        study.tell(trial, 0.5)
        assert SEARCH_SPACES[model](study.trials[trial.number], task()) == config


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_finished_trial_rebuilds_its_configuration(model, storage):
    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=1))
    sampled = {}
    for _ in range(5):
        trial = study.ask()
        sampled[trial.number] = SEARCH_SPACES[model](trial, task())
        study.tell(trial, 0.5)
    stored = optuna.load_study(storage=storage, study_name="s").trials
    assert {t.number: SEARCH_SPACES[model](t, task()) for t in stored} == sampled


def test_a_trial_of_the_first_mlp_space_is_read_as_what_it_was():
    params = {k: v for k, v in good_starts("mlp", 5)[0].items() if k != "pooling"}
    config = SEARCH_SPACES["mlp"](FixedTrial(params), task(space=1))
    assert config.model.pooling == "mean"
    assert "pooling" in asked_for("mlp", {**params, "pooling": "sqrtn"})[1]


@models_and_epochs
def test_whatever_is_sampled_can_be_trained(model, max_epochs):
    study = optuna.create_study(sampler=RandomSampler(seed=2))
    for _ in range(30):
        config = SEARCH_SPACES[model](study.ask(), task(max_epochs, seed=4))
        assert 1 <= config.training.num_epochs <= max_epochs
        assert config.training.batch_size in BATCH_SIZES
        assert config.training.evaluations_per_epoch == EVALUATIONS_PER_EPOCH
        assert config.training.seed == 4
        assert len(config.model.hidden_sizes) <= 4
        assert isinstance(config.model, MODELS[model][0])
    assert isinstance(build_model(config.model), MODELS[model][1])


def test_filter_lengths_are_spelled_as_ascending_numbers():
    for spelled in FILTER_LENGTHS:
        lengths = [int(length) for length in spelled.split(",")]
        assert lengths == sorted(set(lengths)) and lengths[0] >= 1


def test_the_last_step_is_that_of_the_longest_trial():
    assert task(3).max_steps == 3 * EVALUATIONS_PER_EPOCH
