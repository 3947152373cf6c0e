"""Orders to a study, within one process: who may be paused or cancelled, and what failures do."""

from __future__ import annotations

import signal
import threading
import time

import optuna
import pytest
from optuna.samplers import GridSampler, RandomSampler
from optuna.trial import TrialState

import search.workers.hang_watch
from search.enqueueing import enqueue_configuration
from search.errors import PoisonedStudy, SearchError
from search.spaces import good_starts
from search.storage.budget import Verdict, set_budget
from search.storage.claims import Claim
from search.storage.control import (
    cancel,
    control_of,
    lift_stop,
    pause,
    read_orders,
    resume,
    stop,
)
from search.storage.failures import stop_if_failing
from search.storage.trial_queue import claim, release
from search.study import open_study
from search.workers.attempt import params_keys
from search.workers.hang_watch import HangWatch
from search.workers.loop import run_worker


def taken(storage, study):
    claimed = claim(storage, study._study_id, token=f"t{time.monotonic_ns()}", worker="here")
    assert isinstance(claimed, Claim)
    return claimed


def refusal(storage, study):
    return claim(storage, study._study_id, token="none", worker="here")


def test_a_paused_study_gives_no_trial_until_it_is_resumed(new_study, storage):
    study = new_study(3)
    pause(storage, study._study_id)
    assert refusal(storage, study) is Verdict.PAUSED
    resume(storage, study._study_id)
    assert taken(storage, study).number == 0


def test_a_launch_lifts_a_stop_but_not_a_pause(new_study, storage):
    study = new_study(3)
    stop(storage, study._study_id)
    assert lift_stop(storage, study._study_id).verdict is None
    pause(storage, study._study_id)
    assert lift_stop(storage, study._study_id).verdict is Verdict.PAUSED
    assert control_of(storage, study._study_id).stops == 1


def test_a_stopped_study_cannot_be_paused(new_study, storage):
    study = new_study(3)
    stop(storage, study._study_id)
    with pytest.raises(SearchError, match="cannot be paused: the study was stopped"):
        pause(storage, study._study_id)
    assert refusal(storage, study) is Verdict.STOPPED


def test_a_finished_study_is_finished_whatever_was_asked(new_study, storage):
    study = new_study(1)
    taken(storage, study)
    storage.set_trial_state_values(study.trials[0]._trial_id, TrialState.COMPLETE, [1.0])
    stop(storage, study._study_id)
    assert refusal(storage, study) is Verdict.FINISHED


def test_a_waiting_trial_is_cancelled_at_once(new_study, storage):
    study = new_study(3)
    study.enqueue_trial({"x": 0.5})
    assert cancel(storage, study._study_id, 0) == TrialState.FAIL
    assert study.trials[0].user_attrs["fail_reason"] == "cancelled"
    assert taken(storage, study).number == 1


def test_a_cancelled_trial_is_not_queued_again_whatever_it_ends_of(new_study, storage):
    study = new_study(3)
    claimed = taken(storage, study)
    assert cancel(storage, study._study_id, 0) == TrialState.RUNNING
    assert read_orders(storage, study._study_id, claimed.trial_id).cancelled
    ended = release(storage, claimed.trial_id, reason="interrupted", max_failures=None)
    assert ended == TrialState.FAIL
    assert study.trials[0].user_attrs["fail_reason"] == "cancelled"
    assert len(study.trials) == 1


def test_a_trial_that_has_ended_is_not_cancelled_and_its_next_attempt_named(new_study, storage):
    study = new_study(3)
    release(storage, taken(storage, study).trial_id, reason="interrupted", max_failures=None)
    with pytest.raises(SearchError, match="trial 0 has ended already .FAIL.; .* as trial 1"):
        cancel(storage, study._study_id, 0)
    with pytest.raises(SearchError, match="no trial 7"):
        cancel(storage, study._study_id, 7)


def test_the_time_of_earlier_attempts_is_carried_on(new_study, storage):
    study = new_study(1)
    began = time.monotonic()
    first = taken(storage, study)
    time.sleep(0.3)
    release(storage, first.trial_id, reason="interrupted", max_failures=None)
    ran = time.monotonic() - began
    time.sleep(0.3)  # waiting does not count
    second = taken(storage, study)
    assert 0.29 <= second.seconds_before <= ran + 0.01
    release(storage, second.trial_id, reason="interrupted", max_failures=None)
    assert taken(storage, study).seconds_before >= second.seconds_before


def run(storage, objective, **options):
    options.setdefault("make_sampler", lambda seed: RandomSampler(seed=seed))
    return run_worker(
        "toy", storage, objective, pruner=optuna.pruners.NopPruner(), seed=1, **options
    )


def test_more_than_half_failed_of_at_least_ten_stops_the_study(new_study, storage):
    study = new_study(100)

    def mostly_broken(attempt):
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        if attempt.trial.number % 3:
            raise ValueError("broken")
        return x

    with pytest.raises(PoisonedStudy, match="10 of 15 trials failed, the last with .*broken"):
        run(storage, mostly_broken)
    assert refusal(storage, study) is Verdict.FAILED


def test_neither_interruptions_nor_lost_workers_count_as_failures(new_study, storage):
    study = new_study(100)
    for _ in range(12):
        release(storage, taken(storage, study).trial_id, reason="interrupted", max_failures=None)
    stop_if_failing(storage, study._study_id, most_in_a_row=1, last="x", fewest=1)
    assert control_of(storage, study._study_id).verdict is None


def test_a_failed_study_says_so_to_every_worker_until_it_is_launched_again(new_study, storage):
    study = new_study(4)

    def broken(attempt):
        raise ValueError("broken")

    with pytest.raises(PoisonedStudy):
        run(storage, broken)
    with pytest.raises(PoisonedStudy, match="5 trials failed in a row"):
        run(storage, lambda attempt: 1.0)
    lift_stop(storage, study._study_id)
    with pytest.raises(PoisonedStudy):  # five new failures, not one
        run(storage, broken)
    assert len(study.trials) == 10


def broken(attempt):
    raise ValueError("broken")


def test_queued_trials_that_fail_after_a_launch_count_too(new_study, storage):
    study = new_study(100)
    for _ in range(3):  # these have ended when it is launched
        claimed = taken(storage, study)
        release(storage, claimed.trial_id, reason="x", max_failures=0, error="x")
    running = taken(storage, study)
    for number in range(30):
        study.enqueue_trial({"x": number / 30})
    lift_stop(storage, study._study_id)
    release(storage, running.trial_id, reason="x", max_failures=0, error="x")
    with pytest.raises(PoisonedStudy, match="5 trials failed in a row"):
        run(storage, broken)
    assert [t.number for t in study.trials if t.state == TrialState.FAIL] == list(range(8))


def test_a_failed_study_that_is_resumed_may_fail_as_often_again(new_study, storage):
    study = new_study(100)
    for failed in (5, 10):
        with pytest.raises(PoisonedStudy):
            run(storage, broken)
        assert len(study.trials) == failed
        resume(storage, study._study_id)
    # Who goes on after a pause has forgiven nothing.
    release(storage, taken(storage, study).trial_id, reason="x", max_failures=0, error="x")
    pause(storage, study._study_id)
    resume(storage, study._study_id)
    with pytest.raises(PoisonedStudy):
        run(storage, broken)
    assert len(study.trials) == 15


def test_a_launch_that_its_supervisor_repeats_forgives_no_failure(new_study, storage):
    study = new_study(100)
    lift_stop(storage, study._study_id, launch="container 1")
    for _ in range(3):
        release(storage, taken(storage, study).trial_id, reason="x", max_failures=0, error="x")
    assert lift_stop(storage, study._study_id, launch="container 1").verdict is None
    with pytest.raises(PoisonedStudy):
        run(storage, broken)
    assert len(study.trials) == 5
    for _ in range(2):
        control = lift_stop(storage, study._study_id, launch="container 1")
        assert control.verdict is Verdict.FAILED and "5 trials failed" in control.failure
    stop(storage, study._study_id)
    assert lift_stop(storage, study._study_id, launch="container 1").verdict is None
    with pytest.raises(PoisonedStudy):
        run(storage, broken)
    assert len(study.trials) == 6
    assert lift_stop(storage, study._study_id, launch="container 2").verdict is None
    with pytest.raises(PoisonedStudy):
        run(storage, broken)
    assert len(study.trials) == 11
    assert lift_stop(storage, study._study_id).verdict is None
    assert refusal(storage, study) is not Verdict.FAILED


def test_a_grid_leaves_no_trial_behind_when_it_is_through(new_study, storage):
    study = new_study(50)
    grid = {"row": [1, 3, 5], "column": ["a", "f"]}

    def cell(attempt):
        def define(trial):
            row = trial.suggest_int("row", 1, 6)
            return row + ord(trial.suggest_categorical("column", "abcdef"))

        return attempt.suggest(define)

    result = run(
        storage,
        cell,
        make_sampler=lambda seed: GridSampler(grid, seed=0),
        points=params_keys(grid),
    )
    assert result.verdict is Verdict.EXHAUSTED
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6


def test_a_trial_over_its_time_is_pruned_with_the_value_it_had(new_study, storage):
    study = new_study(1)
    set_budget(storage, study._study_id, n_trials=1, trial_timeout_seconds=0.2)

    def slow(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        for step in range(1, 100):
            time.sleep(0.1)
            attempt.report(step, step)
            assert not attempt.should_stop()
        return 0.0

    run(storage, slow)
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED and trial.value == trial.last_step < 20
    assert "a trial may for 0.2 s" in trial.user_attrs["prune_reason"]


def test_a_hang_is_told_with_the_place_where_it_is(new_study, storage):
    study = new_study(2)
    set_budget(storage, study._study_id, n_trials=2, hang_timeout_seconds=0.4)
    told, ended, free = [], [], threading.Event()

    def stuck_at_first(attempt):
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        if attempt.trial.number == 0:
            free.wait(60)
        return x

    def on_hang(line):
        told.append(line)
        signal.raise_signal(signal.SIGTERM)
        free.set()

    run(storage, stuck_at_first, on_hang=on_hang, on_end=lambda a, s: ended.append(s))
    assert told[0].startswith("trial 0 was ended: no evaluation for")
    assert "stuck_at_first" in study.trials[0].user_attrs["error"]
    # As it was no longer this worker's, what it came to in the end is not stored.
    assert ended == [TrialState.WAITING, TrialState.RUNNING]


def test_the_time_for_an_evaluation_is_drawn_from_those_before(monkeypatch):
    monkeypatch.setattr(search.workers.hang_watch, "_SHORTEST_SECONDS", 0.001)
    watch = HangWatch(on_hang=print, on_alive=print, timeout_seconds=lambda: None)
    watch.begin()
    assert watch.allowed_seconds == 3600
    time.sleep(0.05)
    watch.evaluated()
    slowest = watch.allowed_seconds
    assert slowest >= 20 * 0.05
    watch.evaluated()
    assert watch.allowed_seconds == slowest


def enqueued(storage, settings, texts):
    study = open_study(storage, "mine", settings, n_trials=1)
    return study, enqueue_configuration(storage, study, texts)


def test_an_enqueued_configuration_may_leave_parameters_to_the_sampler(storage, settings):
    study, number = enqueued(storage, settings, ["dropout=0.25", "hidden_sizes=none"])
    trial = study.trials[number]
    assert trial.state == TrialState.WAITING
    assert trial.system_attrs["fixed_params"] == {"dropout": 0.25, "num_layers": 0}


def test_a_configuration_outside_of_the_space_is_not_enqueued(storage, settings):
    with pytest.raises(SearchError, match="dropout=5 is not in the search space"):
        enqueued(storage, settings, ["dropout=5"])


def test_a_configuration_that_is_there_is_not_enqueued_again(storage, settings):
    params = good_starts("mlp", 3)[0] | {"dropout": 0.25}
    texts = [f"{name}={value}" for name, value in params.items()]
    study, number = enqueued(storage, settings, texts)
    with pytest.raises(SearchError, match=f"trial {number} is this configuration already"):
        enqueue_configuration(storage, study, texts)


def test_the_same_part_may_be_enqueued_again_whatever_became_of_the_first(storage, settings):
    study, first = enqueued(storage, settings, ["dropout=0.25"])
    second = enqueue_configuration(storage, study, ["dropout=0.25"])
    parts = [study.trials[number].system_attrs["fixed_params"] for number in (first, second)]
    assert parts == [{"dropout": 0.25}] * 2
    assert first != second
