"""Several objectives: which they may be, and what "best" means then."""

from __future__ import annotations

import dataclasses

import optuna
import pytest
from optuna.study import StudyDirection

from search.errors import SearchError
from search.objectives import by_accuracy, leaders, pareto_front, parse_objectives
from search.run import default_study_name
from search.study import load_settings, open_study
from search.tracking.study_run import standing_of

TWO = ("balanced_accuracy", "latency")


def add(study, *values):
    study.add_trial(optuna.create_trial(values=values))


@pytest.fixture
def study(storage, settings):
    opened = open_study(storage, "two", dataclasses.replace(settings, objectives=TWO), n_trials=0)
    for values in ((0.7, 1.0), (0.9, 3.0), (0.9, 2.0), (0.6, 1.5)):
        add(opened, *values)
    return opened


@pytest.mark.parametrize(
    ("text", "objectives"),
    [
        ("balanced_accuracy", ("balanced_accuracy",)),
        ("latency, balanced_accuracy", TWO),
        ("size,latency,balanced_accuracy", (*TWO, "size")),
    ],
)
def test_balanced_accuracy_comes_first_whatever_the_order(text, objectives):
    assert parse_objectives(text) == objectives


@pytest.mark.parametrize(
    "text", ["", "latency", "balanced_accuracy,speed", "balanced_accuracy,size,size"]
)
def test_other_objectives_are_refused_with_those_that_there_are(text):
    with pytest.raises(SearchError, match="--objectives.*balanced_accuracy.*latency, size"):
        parse_objectives(text)


def test_a_pruner_or_a_sampler_of_one_objective_is_refused(options):
    several = dataclasses.replace(options, objectives=TWO, pruner="none")
    several.check()
    with pytest.raises(SearchError, match="^--pruner median .*leave --pruner out$"):
        dataclasses.replace(several, pruner="median").check()
    for sampler in ("gp", "cmaes", "grid"):
        with pytest.raises(SearchError, match=f"^--sampler {sampler} .*tpe or random$"):
            dataclasses.replace(several, sampler=sampler).check()


def test_a_study_of_several_has_their_directions_and_names_and_a_name_of_its_own(study, settings):
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert study.metric_names == ["validation balanced accuracy", "latency in ms"]
    assert load_settings(study).objectives == TWO
    assert default_study_name(settings) == "mlp-titles"
    assert default_study_name(load_settings(study)) == "mlp-titles-latency"


def test_a_study_goes_on_with_its_own_objectives_alone(storage, study, settings):
    with pytest.raises(SearchError, match="balanced_accuracy,latency, not balanced_accuracy;"):
        open_study(storage, "two", settings, n_trials=0)


def test_the_first_of_the_leaders_is_the_first_of_the_pareto_front(study):
    assert [trial.number for trial in leaders(study.trials)] == [2, 1, 0, 3]
    assert [trial.number for trial in pareto_front(study)] == [2, 0]


def test_a_study_of_one_objective_has_no_pareto_front(new_study):
    study = new_study(1)
    add(study, 0.5)
    assert pareto_front(study) == []


def test_seen_by_accuracy_a_trial_has_one_value_and_itself_keeps_all(study):
    trial = study.trials[0]
    assert by_accuracy(trial).value == 0.7
    assert trial.values == [0.7, 1.0]


def test_the_standing_names_the_front_and_its_most_accurate_trial(storage, study):
    standing = standing_of(study, study.trials)
    assert standing.best is not None and standing.best[:2] == (2, 0.9)
    assert standing.front == (2, 0)
