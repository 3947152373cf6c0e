"""A study filled for measurements is one that the service can go on with."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.filled import fill
from search.spaces import SEARCH_SPACES, Task
from search.storage.opening import open_storage
from search.strategies import PRUNERS, SAMPLERS

TASK = Task(vocabulary_size=100, embedding_dim=8, num_classes=5, max_epochs=5)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    url = f"sqlite:///{tmp_path}/study.db"
    storage = open_storage(url)
    study = optuna.create_study(study_name="filled", storage=storage, direction="maximize")
    fill(url, study._study_id, TASK, "mlp", 60)
    return study


def test_it_has_the_trials_that_were_asked_for(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(60))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.params and trial.intermediate_values for trial in trials)


def test_the_sampler_and_the_pruner_go_on_from_it(study: optuna.Study) -> None:
    study.sampler = SAMPLERS["tpe"](0, {})
    study.pruner = PRUNERS["asha"](TASK.max_steps)
    trial = study.ask()
    SEARCH_SPACES["mlp"](trial, TASK)
    assert trial.number == 60
    for step in range(1, TASK.max_steps + 1):
        trial.report(0.01 * step, step)
        assert not trial.should_prune()
