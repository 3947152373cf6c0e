"""A study and a trial in full."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from search.errors import SearchError
from search.results.details import study_details, trial_details
from search.storage.retries import resume_at
from search.storage.trial_queue import claim, release
from search.study import BASELINE_ATTR, SETTINGS_ATTR

SPACE = {
    "learning_rate": FloatDistribution(0.001, 0.1, log=True),
    "freeze_embeddings": CategoricalDistribution((True, False)),
}


def add(study, value, state=TrialState.COMPLETE, **attributes):
    trial = create_trial(
        state=state,
        value=value,
        params={"learning_rate": 0.01, "freeze_embeddings": True},
        distributions=SPACE,
        user_attrs=attributes,
    )
    study.add_trial(trial)


def test_a_study_shows_settings_space_and_the_best_of_its_complete_trials(new_study, settings):
    study = new_study(n_trials=7)
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    add(study, 0.5)
    add(study, 0.75, **{BASELINE_ATTR: "theirs"})
    add(study, 0.9, TrialState.PRUNED)
    details = study_details(study)
    assert details["settings"]["sampler"] == "tpe"
    assert details["n_trials"] == 7
    assert details["space"]["learning_rate"] == "0.001 to 0.1, logarithmic"
    assert [(t["number"], t["baseline"]) for t in details["leaders"]] == [(1, "theirs"), (0, None)]
    assert [t["number"] for t in study_details(study, leaders=1)["leaders"]] == [1]


def test_all_attempts_at_a_configuration_are_told(storage, new_study, settings):
    study = new_study(n_trials=5)
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    study.enqueue_trial({"learning_rate": 0.01})
    first = claim(storage, study._study_id, token="1", worker="host:1")
    for step in (1, 2, 3):
        storage.set_trial_intermediate_value(first.trial_id, step, step / 10)
    release(storage, first.trial_id, reason="lost power", max_failures=3)
    add(study, 0.5)  # another configuration
    second = claim(storage, study._study_id, token="2", worker="host:2")
    resume_at(storage, second.trial_id, 2)
    storage.set_trial_intermediate_value(second.trial_id, 3, 0.7)
    details = trial_details(study, second.number)
    keys = ("trial", "attempt", "state", "worker", "resumed_from", "last_step", "fail_reason")
    assert [tuple(attempt[key] for key in keys) for attempt in details["attempts"]] == [
        (first.number, 1, "FAIL", "host:1", None, 3, "lost power"),
        (second.number, 2, "RUNNING", "host:2", 2, 3, None),
    ]
    assert details["worker"] == "host:2"
    points = [(point["step"], point["epoch"], point["value"]) for point in details["curve"]]
    assert points == [(1, 0.25, 0.1), (2, 0.5, 0.2), (3, 0.75, 0.7)]


def test_the_error_of_a_failed_trial_is_shown_whole(storage, new_study):
    study = new_study(n_trials=5)
    claimed = claim(storage, study._study_id, token="1", worker="host:1")
    release(
        storage, claimed.trial_id, reason="ValueError: x", max_failures=0, error="Traceback\n  x"
    )
    details = trial_details(study, claimed.number)
    assert details["error"] == "Traceback\n  x"
    assert details["attempts"][0]["fail_reason"] == "ValueError: x"


def test_a_missing_trial_is_refused_with_those_that_are_there(new_study):
    study = new_study(n_trials=5)
    with pytest.raises(SearchError, match="no trial 0: it has none yet"):
        trial_details(study, 0)
    add(study, 0.5)
    with pytest.raises(SearchError, match="no trial 1: they are 0 to 0"):
        trial_details(study, 1)


def test_a_study_of_another_program_is_shown_as_far_as_it_goes(new_study):
    study = new_study()
    add(study, 0.5)
    details = study_details(study)
    assert (details["made_by"], details["settings"]) == ("another program", {})
    assert trial_details(study, 0)["params"] == {"learning_rate": 0.01, "freeze_embeddings": True}
