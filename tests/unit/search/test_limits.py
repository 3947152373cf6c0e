"""Limits: what they may be, how a trial is held against them, and what samplers make of that."""

from __future__ import annotations

import dataclasses
import warnings

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.errors import SearchError
from search.limits import (
    check_reachable,
    described,
    ended_over,
    excess_of,
    hold_against,
    is_over,
    limits_of,
    once,
    why_over,
)
from search.sampler_view import StudyView
from search.settings import StudySettings
from search.strategies import SAMPLERS

LIMITS = {"size_mb": 20.0, "latency_ms": 0.5}
COSTS = {"size_mb": 25.0, "latency_ms": 0.25}


def measured(trial, costs=COSTS, limits=LIMITS):
    """Hold a trial against limits; what had to be measured for that."""
    asked = []

    def measure(name):
        asked.append(name)
        return costs[name]

    found = hold_against(trial, limits, measure)
    return found, asked


def over(excess, *costs, **more):
    """A trial that was not trained, being over a limit."""
    constraints = {"constraints": [excess], "constraints:size_mb": excess}
    values = (0.125, *costs)
    return create_trial(state=TrialState.PRUNED, values=values, system_attrs=constraints, **more)


@pytest.mark.parametrize("number", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["size_mb", "latency_ms"])
def test_a_limit_that_is_no_number_above_zero_is_refused_with_its_option(name, number):
    option = f"--max-{name.replace('_', '-')}"
    with pytest.raises(SearchError, match=f"^{option} is {number:g}; give a number above 0$"):
        limits_of(**{"size_mb": None, "latency_ms": None, name: number})


def test_limits_are_those_given_and_are_said_with_their_units():
    assert limits_of(size_mb=None, latency_ms=None) == {} and described({}) == ""
    assert limits_of(size_mb=20.0, latency_ms=None) == {"size_mb": 20.0}
    assert described(limits_of(size_mb=20.0, latency_ms=0.5)) == "at most 20 MB and 0.5 ms a title"


def test_a_limit_below_the_word_vectors_alone_is_refused():
    # 1000 words of 250 numbers of 4 bytes are a megabyte.
    check_reachable({"size_mb": 1.0}, vocabulary_size=1000, embedding_dim=250)
    check_reachable({"latency_ms": 0.01}, vocabulary_size=1000, embedding_dim=250)
    with pytest.raises(SearchError, match="--max-size-mb is 0.99, but .* alone take 1 MB.*--dim"):
        check_reachable({"size_mb": 0.99}, vocabulary_size=1000, embedding_dim=250)


def test_a_trial_has_its_costs_and_the_part_by_which_each_limit_is_exceeded(new_study):
    study = new_study()
    found, asked = measured(study.ask())
    assert found == COSTS and asked == ["size_mb", "latency_ms"]
    (trial,) = study.trials
    assert trial.user_attrs == COSTS
    assert trial.system_attrs["constraints:size_mb"] == 0.25
    assert trial.system_attrs["constraints:latency_ms"] == -0.5
    assert trial.system_attrs["constraints"] == [0.25, -0.5]  # as optuna-dashboard reads them


def test_exactly_the_limit_is_within_it(new_study):
    study = new_study()
    measured(study.ask(), {"size_mb": 20.0, "latency_ms": 0.5})
    assert not is_over(study.trials[0])
    assert excess_of({"size_mb": 20.0}, {"size_mb": 20.0}) == ""


def test_what_an_earlier_attempt_measured_stands(new_study):
    study = new_study()
    first = study.ask()
    first.set_user_attr("latency_ms", 0.4)
    found, asked = measured(first)
    assert found == {"size_mb": 25.0, "latency_ms": 0.4} and asked == ["size_mb"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna's, of a constraint that is there already
        again, asked = measured(first)
    assert again == found and asked == []


def test_a_judgement_cut_short_is_completed(new_study):
    study = new_study()
    trial = study.ask()
    trial.set_constraint("size_mb", 0.25)
    measured(trial)
    assert study.trials[0].system_attrs["constraints"] == [0.25, -0.5]
    assert study.trials[0].system_attrs["constraints:latency_ms"] == -0.5


def test_without_limits_nothing_is_measured_or_written(new_study):
    study = new_study()
    assert measured(study.ask(), limits={}) == ({}, [])
    assert study.trials[0].user_attrs == {}
    assert not any("constraint" in key for key in study.trials[0].system_attrs)


def test_what_is_over_is_said_with_both_figures():
    assert excess_of(COSTS, LIMITS) == "25 MB, over the limit of 20"
    both = {"size_mb": 25.125, "latency_ms": 1.0}
    assert excess_of(both, LIMITS) == (
        "25.125 MB, over the limit of 20; 1 ms a title, over the limit of 0.5"
    )
    assert why_over(over(0.1)) == "over a limit"
    assert why_over(over(0.1, user_attrs={"prune_reason": "25 MB"})) == "25 MB"


def test_attempts_that_another_one_followed_are_not_counted_twice():
    failed = create_trial(state=TrialState.FAIL, constraints={"size_mb": 0.5})
    last, within = over(0.5), create_trial(value=1.0, constraints={"size_mb": -0.5})
    assert ended_over([failed, last, within]) == [last]


def test_samplers_see_each_constraint_once():
    trial = over(0.25)
    assert trial.constraints == {"0": 0.25, "size_mb": 0.25}
    assert once(trial).constraints == {"size_mb": 0.25}
    old = create_trial(state=TrialState.PRUNED, system_attrs={"constraints": [0.25]})
    assert once(old).constraints == {"0": 0.25}
    plain = create_trial(value=1.0)
    assert once(plain) is plain


def test_a_sampler_of_several_objectives_sees_what_was_over_and_not_what_ran_out_of_time():
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials([over(0.25, 9.0), create_trial(state=TrialState.PRUNED)])
    study.add_trial(create_trial(values=[0.5, 1.0]))
    shown = StudyView(study).get_trials()
    assert [trial.number for trial in shown] == [0, 2]
    assert shown[0].state == TrialState.PRUNED and shown[0].constraints == {"size_mb": 0.25}


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_tpe_keeps_away_from_what_was_over(directions):
    """Small is worse in value: only the constraint speaks for it."""
    space = {"width": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(directions=directions)
    costs = [1.0] * (len(directions) - 1)
    for place in range(30):
        width = place / 30
        drawn = {"params": {"width": width}, "distributions": space}
        if width > 0.3:
            study.add_trial(over(width - 0.3, *costs, **drawn))
        else:
            values = [width, *costs]
            study.add_trial(create_trial(values=values, constraints={"size_mb": -0.1}, **drawn))
    drawn = []
    for seed in range(20):
        study.sampler = SAMPLERS["tpe"](seed, {})
        drawn.append(study.ask(space).params["width"])
    assert sum(width <= 0.35 for width in drawn) >= 15


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "random"])
def test_every_sampler_goes_on_after_trials_over_a_limit_and_warns_of_nothing(name):
    space = {"width": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(direction="maximize")
    for seed in range(16):
        study.sampler = SAMPLERS[name](seed, {})
        trial = study.ask(space)
        costs = {"size_mb": 40.0 * trial.params["width"], "latency_ms": 0.1}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            measured(trial, costs)
            if excess_of(costs, LIMITS):
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, trial.params["width"])
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


def test_the_settings_of_a_study_without_limits_are_stored_as_before_there_were_any(settings):
    assert "limits" not in settings.to_json()
    assert StudySettings.from_json(settings.to_json()).limits == {}


def test_limits_survive_the_settings_and_name_the_study(settings):
    limited = dataclasses.replace(settings, limits=LIMITS)
    assert StudySettings.from_json(limited.to_json()) == limited
    assert limited.usual_name == "mlp-titles-max-20mb-0.5ms"


def test_other_limits_are_refused_in_words(settings):
    limited = dataclasses.replace(settings, limits={"size_mb": 20.0})
    with pytest.raises(SearchError, match="exists with limits none, not at most 20 MB;.*--max-si"):
        limited.check_continues(settings, "mine")
