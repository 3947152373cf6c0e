"""Samplers and pruners, on the real search spaces and on curves that are easy to judge."""

from __future__ import annotations

import itertools

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from models import MODELS
from search import sampling
from search.spaces import SEARCH_SPACES, Task, grid
from search.strategies import PRUNERS, SAMPLERS

TASK = Task(vocabulary_size=30, embedding_dim=8, num_classes=3, max_epochs=5)
MAX_STEPS = TASK.max_steps
PRUNING = sorted(set(PRUNERS) - {"none"})
# GP and CMA-ES begin with up to ten random points: this many are enough to get past them.
TRIALS = 11
# Optuna says of WilcoxonPruner that it may change.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


# The Gaussian process takes seconds: one space is enough for it.
@pytest.mark.parametrize(
    ("name", "model"),
    [(s, m) for s in sorted(SAMPLERS) for m in sorted(MODELS) if (s, m) != ("gp", "cnn")],
)
def test_a_sampler_repeats_itself_with_its_seed_on_the_real_space(name, model):
    def sampled(seed):
        sampler = SAMPLERS[name](seed, grid(model, 5))
        assert isinstance(sampler, BaseSampler)
        study = optuna.create_study(sampler=sampler, direction="maximize")
        study._thread_local.in_optimize_loop = True  # as the worker does, for GridSampler
        for number in range(TRIALS if name != "grid" else 4):
            trial = study.ask()
            config = SEARCH_SPACES[model](trial, TASK)
            study.tell(trial, 0.5 + config.model.dropout / (2 + number))
        return [t.params for t in study.trials]

    first = sampled(3)
    assert sampled(3) == first
    assert len({tuple(sorted(params.items())) for params in first}) == len(first)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"grid"}))
def test_another_seed_gives_other_trials(name):
    def first_of(seed):
        study = optuna.create_study(sampler=SAMPLERS[name](seed, grid("mlp", 5)))
        trial = study.ask()
        SEARCH_SPACES["mlp"](trial, TASK)
        return trial.params

    assert first_of(0) != first_of(1)


def test_tpe_is_shown_what_runs_by_the_value_it_has_reached(monkeypatch):
    shown = []
    split = sampling._split_trials

    def watch(study, trials, n_below):
        below, above = split(study, trials, n_below)
        shown.append({t.number for t in below})
        return below, above

    monkeypatch.setattr(sampling, "_split_trials", watch)
    study = optuna.create_study(sampler=SAMPLERS["tpe"](0, {}), direction="maximize")
    for number in range(TRIALS):
        trial = study.ask()
        trial.suggest_float("dropout", 0, 1)
        study.tell(trial, 0.01 * number)
    good, new = study.ask(), study.ask()
    for trial in (good, new):
        trial.suggest_float("dropout", 0, 1)
    good.report(0.9, 3)
    study.ask().suggest_float("dropout", 0, 1)
    assert good.number in shown[-1]
    assert new.number not in shown[-1]
    assert study.trials[good.number].state == TrialState.RUNNING


def test_the_order_of_the_grid_is_the_same_for_every_seed():
    orders = [SAMPLERS["grid"](seed, grid("mlp", 5))._all_grids for seed in (0, 7)]
    assert orders[0] == orders[1]


def curve(quality, step):
    """Rises to ``quality``; curves never cross."""
    return quality * step / (step + 3)


def run(pruner, qualities):
    """Trials one after the other; the states, by quality, and the steps at which they ended."""
    study = optuna.create_study(study_name="curves", direction="maximize", pruner=pruner)
    found = {}
    for quality in qualities:
        trial = study.ask()
        state = TrialState.COMPLETE
        for step in range(1, MAX_STEPS + 1):
            trial.report(curve(quality, step), step)
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        value = curve(quality, step) if state == TrialState.COMPLETE else None
        study.tell(trial, value, state=state)
        found[quality] = state, step
    return found


@pytest.mark.parametrize("max_steps", [1, 2, 4, 20, 400])
@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_a_pruner_can_be_made_for_any_length(name, max_steps):
    assert isinstance(PRUNERS[name](max_steps), BasePruner)


@pytest.mark.parametrize("order", [*itertools.permutations((0.3, 0.5, 0.7, 0.9))])
def test_asha_never_prunes_the_best_of_several_trials_at_a_rung(order):
    assert run(PRUNERS["asha"](MAX_STEPS), order)[0.9] == (TrialState.COMPLETE, MAX_STEPS)


def test_asha_never_prunes_the_best_of_trials_that_run_at_once():
    study = optuna.create_study(direction="maximize", pruner=PRUNERS["asha"](MAX_STEPS))
    running = {quality: study.ask() for quality in (0.2, 0.9, 0.4, 0.6, 0.8)}
    pruned = set()
    for step in range(1, MAX_STEPS + 1):
        for quality, trial in running.items():
            if quality not in pruned:
                trial.report(curve(quality, step), step)
                if trial.should_prune():
                    pruned.add(quality)
    assert 0.9 not in pruned and pruned


@pytest.mark.parametrize("name", PRUNING)
@pytest.mark.parametrize("best", [0, 4, 9])
def test_the_best_trial_is_pruned_by_none_of_them(name, best):
    qualities = [0.3 + 0.02 * number for number in range(9)]
    qualities.insert(best, 0.95)
    assert run(PRUNERS[name](MAX_STEPS), qualities)[0.95][0] == TrialState.COMPLETE


@pytest.mark.parametrize("name", sorted({*PRUNING} - {"hyperband"}))
def test_a_hopeless_trial_after_good_ones_is_pruned_before_its_end(name):
    qualities = [0.9 - 0.01 * number for number in range(9)] + [0.1]
    state, step = run(PRUNERS[name](MAX_STEPS), qualities)[0.1]
    assert state == TrialState.PRUNED and step < MAX_STEPS


def test_hyperband_prunes_hopeless_trials_in_some_of_its_brackets():
    qualities = [0.9 - 0.01 * number for number in range(9)]
    hopeless = [0.1 + 0.001 * number for number in range(9)]
    found = run(PRUNERS["hyperband"](MAX_STEPS), qualities + hopeless)
    assert TrialState.PRUNED in {found[quality][0] for quality in hopeless}


def test_none_prunes_nothing():
    found = run(PRUNERS["none"](MAX_STEPS), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.01])
    assert {state for state, _ in found.values()} == {TrialState.COMPLETE}
