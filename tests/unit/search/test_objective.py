"""A trial's value: real titles, a real trainer, a real worker."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
import torch
from optuna.pruners import ThresholdPruner
from optuna.trial import TrialState

from models import build_model
from models.training import Trainer
from search.inputs import TrainingData
from search.objectives import BALANCED_ACCURACY, LATENCY, SIZE, directions_of
from search.spaces import SEARCH_SPACES, good_starts
from search.storage.budget import set_budget
from search.strategies import PRUNERS
from search.study import BASELINE_ATTR, START_ATTR, task_of

EPOCHS = 2
ALL_OBJECTIVES = (BALANCED_ACCURACY, LATENCY, SIZE)
MODELS = ("mlp", "cnn")


def params(model, **changes):
    """A configuration that learns something in a dozen batches."""
    quick = {"batch_size": 128, "learning_rate": 0.02, "dropout": 0.1}
    return good_starts(model, EPOCHS)[0] | quick | changes


def finished(study):
    """The only trial that was finished."""
    (trial,) = study.get_trials(states=(TrialState.COMPLETE,))
    return trial


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_value_is_the_best_validation_balanced_accuracy_of_the_trainer(
    new_study, run, inputs, data_cache, settings, model, frozen
):
    study = new_study(1)
    study.enqueue_trial(params(model, freeze_embeddings=frozen))
    heard = run(study, model)
    trial = finished(study)
    task = task_of(replace(settings, max_epochs=EPOCHS), inputs.prepared)
    config = SEARCH_SPACES[model](trial, task)
    data = TrainingData(inputs, cache_folder=data_cache, device=torch.device("cpu"))
    network = build_model(config.model, data.matrix, stem_ids=data.stem_ids, seed=0)
    pooled = model == "mlp" and frozen
    train, validation = (
        (data.pooled_train, data.pooled_validation) if pooled else (data.train, data.validation)
    )
    curve = {
        evaluation.step: evaluation.balanced_accuracy
        for evaluation in Trainer(network, config.training, train, validation).run()
    }
    assert trial.intermediate_values == curve
    assert trial.value == max(curve.values())
    assert len(set(curve.values())) > 2  # it has learnt, and not stood still
    assert heard.steps == [*curve]


def test_a_finished_trial_says_what_its_value_does_not(new_study, run):
    study = new_study(1)
    study.enqueue_trial(params("mlp"))
    run(study)
    attributes = finished(study).user_attrs
    assert attributes["epochs"] == EPOCHS
    assert 0 < attributes["best_epoch"] <= EPOCHS
    assert 0 <= attributes["accuracy"] <= 1 and attributes["loss"] > 0
    assert attributes["seconds"] > 0


@pytest.mark.parametrize("kind", [BASELINE_ATTR, START_ATTR])
def test_a_hopeless_trial_is_pruned_and_a_baseline_or_good_start_never(new_study, run, kind):
    study = new_study(2)
    study.enqueue_trial(params("mlp"))
    study.enqueue_trial(params("mlp", dropout=0.5), user_attrs={kind: "x"})
    run(study, pruner=ThresholdPruner(lower=2.0))  # no accuracy is good enough
    other, first = study.trials
    assert other.state == TrialState.PRUNED and [*other.intermediate_values] == [1]
    assert other.user_attrs["epochs"] == 0.25
    assert first.state == TrialState.COMPLETE
    assert len(first.intermediate_values) == EPOCHS * 4


def facts(study):
    return [(t.params, t.state, t.value, t.intermediate_values) for t in study.trials]


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_study(new_study, run, model):
    studies = [new_study(3, name=name) for name in ("one", "two")]
    for study in studies:
        study.enqueue_trial(params(model))
        run(study, model, pruner=PRUNERS["asha"](EPOCHS * 4), sampler="random", seed=6)
    assert facts(studies[0]) == facts(studies[1])


def test_another_seed_trains_another_network(new_study, run):
    studies = [new_study(1, name=name) for name in ("one", "two")]
    for seed, study in enumerate(studies):
        study.enqueue_trial(params("mlp"))
        run(study, seed=seed)
    one, two = map(finished, studies)
    assert one.params == two.params
    assert one.user_attrs["loss"] != two.user_attrs["loss"]


def test_one_trial_leaves_nothing_to_the_next(new_study, run):
    """The second of two trials is what it would be alone."""
    both, alone = new_study(2, name="both"), new_study(1, name="alone")
    both.enqueue_trial(params("mlp", dropout=0.6))
    for study in (both, alone):
        study.enqueue_trial(params("mlp"))
        run(study)
    assert both.trials[1].intermediate_values == finished(alone).intermediate_values


def test_a_trial_of_its_own_study_is_rebuilt_from_the_storage(new_study, run, storage):
    study = new_study(1)
    study.enqueue_trial(params("cnn"))
    run(study, "cnn")
    stored = optuna.load_study(study_name="toy", storage=storage).best_trial
    assert stored.params == params("cnn")


@pytest.fixture
def new_study_of_several(storage):
    def create(n_trials, name="toy", **budget):
        directions = directions_of(ALL_OBJECTIVES)
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        set_budget(storage, study._study_id, n_trials=n_trials, **budget)
        return study

    return create


@pytest.mark.parametrize("model", MODELS)
def test_with_several_objectives_accuracy_and_curve_are_as_with_one(
    new_study, new_study_of_several, run, model
):
    one, several = new_study(1, name="one"), new_study_of_several(1)
    for study in (one, several):
        study.enqueue_trial(params(model))
    run(one, model)
    run(several, model, objectives=ALL_OBJECTIVES)
    accuracy, latency, size = finished(several).values
    assert accuracy == finished(one).value
    assert finished(several).intermediate_values == finished(one).intermediate_values
    assert latency > 0 and size > 0


def test_a_stopped_trial_of_several_objectives_goes_on_from_its_checkpoint(
    new_study_of_several, run
):
    whole = new_study_of_several(1, name="whole")
    parts = new_study_of_several(1, name="parts")
    for study in (whole, parts):
        study.enqueue_trial(params("mlp"))
    run(whole, objectives=ALL_OBJECTIVES)
    run(parts, stop_at=5, objectives=ALL_OBJECTIVES)
    assert run(parts, objectives=ALL_OBJECTIVES).steps == [*range(6, EPOCHS * 4 + 1)]
    assert finished(parts).intermediate_values == finished(whole).intermediate_values
    assert finished(parts).values[::2] == finished(whole).values[::2]  # a latency never repeats


def test_a_trial_whose_time_is_over_counts_and_does_not_upset_the_sampler(
    storage, new_study_of_several, run
):
    study = new_study_of_several(12, trial_timeout_seconds=0.001)
    study.enqueue_trial(params("mlp"))
    run(study, objectives=ALL_OBJECTIVES)
    assert {trial.state for trial in study.trials} == {TrialState.PRUNED}
    assert all(trial.values is None and trial.intermediate_values for trial in study.trials)
    set_budget(storage, study._study_id, n_trials=26)
    run(study, objectives=ALL_OBJECTIVES)  # TPE models from its eleventh trial on
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.PRUNED] * 12 + [TrialState.COMPLETE] * 14


# The vectors are small, 8 numbers a word: these hidden layers alone are a megabyte.

WIDER = {"num_layers": 2, "hidden_size_1": 1024, "hidden_size_2": 256}


@pytest.mark.parametrize("baseline", [False, True])
def test_a_network_over_the_size_is_not_trained_and_counts_a_baseline_as_any(
    new_study, run, baseline
):
    study = new_study(2)
    marked = {BASELINE_ATTR: "students"} if baseline else {}
    study.enqueue_trial(params("mlp", **WIDER), user_attrs=marked)
    study.enqueue_trial(params("mlp"))
    heard = run(study, limits={"size_mb": 0.5})
    first, second = study.trials
    assert first.state == TrialState.PRUNED and second.state == TrialState.COMPLETE
    assert first.intermediate_values == {}
    assert 0 < first.value < second.value  # evaluated, untrained
    assert heard.steps == [*range(1, EPOCHS * 4 + 1)]  # of the second
    assert first.user_attrs["size_mb"] > 1.0 > 0.5 > second.user_attrs["size_mb"]
    assert first.user_attrs["prune_reason"].endswith("MB, over the limit of 0.5")
    assert first.constraints["size_mb"] > 0 > second.constraints["size_mb"]
    assert study.best_trial.number == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_latency_is_measured_before_the_training(new_study, run, model):
    study = new_study(1)
    study.enqueue_trial(params(model))
    heard = run(study, model, limits={"latency_ms": 1e-6})
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED and heard.steps == []
    assert trial.user_attrs["latency_ms"] > 1e-6 and "size_mb" not in trial.user_attrs


@pytest.mark.parametrize("model", MODELS)
def test_within_its_limits_a_trial_comes_to_the_same_as_without(new_study, run, model):
    free, limited = new_study(1, name="free"), new_study(1, name="limited")
    for study in (free, limited):
        study.enqueue_trial(params(model))
    run(free, model)
    run(limited, model, limits={"size_mb": 1000.0, "latency_ms": 1000.0})
    assert facts(limited) == facts(free)
    assert "size_mb" not in finished(free).user_attrs and not finished(free).constraints


def test_a_resumed_trial_keeps_the_latency_that_its_first_attempt_measured(new_study, run):
    study = new_study(1)
    study.enqueue_trial(params("mlp"))
    limits = {"latency_ms": 1000.0}
    run(study, stop_at=5, limits=limits)
    before = study.trials[0].user_attrs["latency_ms"]
    assert run(study, limits=limits).steps == [*range(6, EPOCHS * 4 + 1)]
    trial = finished(study)
    assert trial.user_attrs["latency_ms"] == before
    assert trial.constraints["latency_ms"] == (before - 1000) / 1000


def test_with_objectives_too_a_trial_has_one_latency_and_what_is_over_was_not_trained(
    new_study_of_several, run
):
    study = new_study_of_several(14)
    study.enqueue_trial(params("mlp", **WIDER))
    study.enqueue_trial(params("mlp"))
    run(study, objectives=ALL_OBJECTIVES, limits={"size_mb": 0.5, "latency_ms": 1000.0})
    states = [trial.state for trial in study.trials]
    assert len(states) == 14 and set(states) == {TrialState.PRUNED, TrialState.COMPLETE}
    assert states[:2] == [TrialState.PRUNED, TrialState.COMPLETE]
    for trial in study.trials:
        if trial.state == TrialState.COMPLETE:
            assert trial.values[1] == trial.user_attrs["latency_ms"]
            assert trial.values[2] == trial.user_attrs["size_mb"] <= 0.5
        else:
            assert trial.intermediate_values == {}
            assert trial.values[2] == trial.user_attrs["size_mb"] > 0.5
            assert trial.values[1] == trial.user_attrs["latency_ms"]
