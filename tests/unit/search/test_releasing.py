"""A trial that is handed on: what is answered, and what its next attempt keeps and forgets."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from search.storage.retries import resume_at
from search.storage.trial_queue import claim, release
from search.storage.user_attributes import write_user_attributes


@pytest.fixture
def taken(new_study, storage):
    """A study, and its only trial, RUNNING."""
    study = new_study(1)
    return study, claim(storage, study._study_id, token="t", worker="w")


@pytest.mark.parametrize(
    ("max_failures", "state"),
    [(None, TrialState.WAITING), (3, TrialState.WAITING), (0, TrialState.FAIL)],
)
def test_who_hands_a_trial_on_hears_of_it_when_the_answer_is_lost(
    taken, storage, lose_answers, max_failures, state
):
    study, claimed = taken
    with lose_answers(storage, 2):
        answer = release(storage, claimed.trial_id, reason="oh", max_failures=max_failures)
    assert answer is state
    queued = [TrialState.WAITING] if state is TrialState.WAITING else []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, *queued]


def test_who_hands_on_what_another_has_handed_on_hears_that_nothing_was_done(taken, storage):
    study, claimed = taken
    assert release(storage, claimed.trial_id, reason="first", max_failures=None)
    assert release(storage, claimed.trial_id, reason="second", max_failures=None) is None
    again = claim(storage, study._study_id, token="u", worker="w")
    assert release(storage, claimed.trial_id, reason="third", max_failures=None) is None
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert study.trials[again.number].user_attrs["retry_of"] == 0


def test_what_an_attempt_wrote_before_an_end_that_never_came_is_not_the_nexts(taken, storage):
    study, claimed = taken  # whose worker is killed after it wrote
    written = {"prune_reason": "it ran for 9 s; a trial may for 5 s", "size_mb": 2.5}
    results = {"epochs": 2.0, "best_epoch": 1.5, "accuracy": 0.5, "loss": 1.0, "seconds": 9.0}
    write_user_attributes(storage, claimed.trial_id, written | results)
    release(storage, claimed.trial_id, reason="its worker's process ended", max_failures=3)
    attributes = study.trials[1].user_attrs
    assert attributes.keys().isdisjoint(results) and "prune_reason" not in attributes
    assert attributes["size_mb"] == 2.5 and attributes["failures"] == 1


@pytest.mark.parametrize(
    ("saved", "resumed", "values"),
    [(2, 2, {1: 0.1, 2: 0.2}), (3, 3, {1: 0.1, 2: 0.2, 3: 0.3}), (0, 0, {}), (7, 0, {})],
)
def test_a_trial_goes_on_from_a_step_that_it_has_reported_or_from_scratch(
    taken, storage, lose_answers, saved, resumed, values
):
    study, claimed = taken
    for step in (1, 2, 3):
        storage.set_trial_intermediate_value(claimed.trial_id, step, step / 10)
    release(storage, claimed.trial_id, reason="interrupted", max_failures=None)
    again = claim(storage, study._study_id, token="u", worker="w")
    with lose_answers(storage, 1):
        assert resume_at(storage, again.trial_id, saved) == resumed
    trial = study.trials[1]
    assert trial.intermediate_values == values and trial.user_attrs["resumed_from"] == resumed
