"""What is faster than in Optuna gives what Optuna gives."""

from __future__ import annotations

import random

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe import sampler as _sampler
from optuna.trial import TrialState

from search.sampler_view import StudyView
from search.sampling import OwnTrial, _split_trials, speed_up_tpe
from search.spaces import SEARCH_SPACES, Task
from search.strategies import PRUNERS, SAMPLERS

TASK = Task(vocabulary_size=30, embedding_dim=8, num_classes=3, max_epochs=5)
# Optuna says of WilcoxonPruner that it may change.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def test_the_logarithm_of_the_normal_distribution_is_optunas():
    speed_up_tpe()
    points = np.concatenate([np.linspace(-60, 12, 2001), [-1e4, -0.0, 0.0, 40.0]])
    upstream = [_truncnorm._log_ndtr_single(float(x)) for x in points]
    assert np.allclose(_truncnorm._log_ndtr(points), upstream, rtol=1e-12, atol=1e-15)


def _seen_by_pruner(study, seed, rungs, *, asks_optuna):
    """Where each of forty trials ended, by the answers of one of the two ways to ask."""
    rng, ends = random.Random(seed), []
    for _ in range(40):
        trial, quality = study.ask(), rng.random()
        own, state = OwnTrial(trial), TrialState.COMPLETE
        for step in range(1, TASK.max_steps + 1):
            trial.report(quality * step / (step + 3), step)
            if trial.should_prune() if asks_optuna else own.should_prune():
                state = TrialState.PRUNED
                break
        value = quality if state == TrialState.COMPLETE else None
        study.tell(trial, value, state=state)
        ends.append((state, step))
        written = study.get_trials()[-1].system_attrs.items()
        rungs.append({key: value for key, value in written if key.startswith("completed_rung")})
    return ends


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_a_pruner_says_of_ones_own_trial_what_it_says_to_optuna(name, storage):
    found = []
    for asks_optuna in (True, False):
        # Of one name, on which Hyperband's brackets depend.
        study = optuna.create_study(
            study_name="s",
            storage=storage if asks_optuna else None,
            direction="maximize",
            pruner=PRUNERS[name](TASK.max_steps),
        )
        rungs: list[dict] = []
        found.append((_seen_by_pruner(study, 3, rungs, asks_optuna=asks_optuna), rungs))
    assert found[0] == found[1]


def _sampled(make_sampler):
    """Sixty trials of the MLP's space, of which some are pruned, each by a sampler of its own."""
    study = optuna.create_study(direction="maximize")
    for number in range(60):
        study.sampler = make_sampler(number)
        trial = study.ask()
        SEARCH_SPACES["mlp"](trial, TASK)
        trial.report(0.5 / (1 + number % 7), 1)
        state = TrialState.PRUNED if number % 3 else TrialState.COMPLETE
        value = None if number % 3 else 0.5 / (1 + number % 7)
        study.tell(trial, value, state=state)
    return [trial.params for trial in study.trials]


def test_samplers_that_share_what_they_found_out_draw_as_if_they_did_not(monkeypatch):
    shared = _sampled(lambda seed: SAMPLERS["tpe"](seed, {}))
    monkeypatch.setattr("search.sampler_view._MEMORIES", _Forgetful())
    assert shared == _sampled(lambda seed: SAMPLERS["tpe"](seed, {}))


def test_faster_tpe_draws_what_optunas_does(monkeypatch):
    drawn = _sampled(lambda seed: SAMPLERS["tpe"](seed, {}))
    monkeypatch.setattr("search.strategies.FastTPESampler", optuna.samplers.TPESampler)
    monkeypatch.setattr("search.sampler_view.EndedTrial.of", lambda trial: trial)
    monkeypatch.setattr("search.strategies.speed_up_tpe", lambda: None)
    monkeypatch.setattr(_sampler, "_split_trials", _split_trials)
    assert drawn == _sampled(lambda seed: SAMPLERS["tpe"](seed, {}))


class _Forgetful(dict):
    def setdefault(self, key, default):
        return default


def test_tpe_reads_the_study_once_for_a_trial(storage, monkeypatch):
    study = optuna.create_study(storage=storage, sampler=SAMPLERS["tpe"](0, {}))
    for _ in range(12):
        trial = study.ask()
        SEARCH_SPACES["mlp"](trial, TASK)
        study.tell(trial, 0.5)
    trial, readings = study.ask(), []
    upstream = type(storage)._get_trials
    monkeypatch.setattr(
        type(storage), "_get_trials", lambda *a, **k: readings.append(1) or upstream(*a, **k)
    )
    SEARCH_SPACES["mlp"](trial, TASK)
    assert len(readings) == 1


def test_a_view_that_is_not_a_samplers_shows_what_has_come_since():
    study = optuna.create_study()
    view = StudyView(study)
    assert view.get_trials() == []
    study.tell(study.ask(), 0.5)
    assert len(view.get_trials()) == 1
