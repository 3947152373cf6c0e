"""What users ask of a running study, and what the study does about trials that fail or hang."""

from __future__ import annotations

import time

from optuna.trial import TrialState

from search.storage.budget import set_budget
from search.storage.control import cancel, lift_stop, pause, resume, stop
from search.storage.trial_queue import enqueue


def _until(condition, seconds=40.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _attempts(fleet):
    return fleet.study().get_trials(deepcopy=False)


def _assert_whole(fleet, n_trials):
    states = fleet.states()
    assert states["COMPLETE"] + states["PRUNED"] == n_trials, (states, fleet.stderr())
    assert states["RUNNING"] == states["WAITING"] == 0, states
    assert "Traceback" not in fleet.stderr()


def _assert_no_step_twice(fleet):
    trained = [(e["root"], e["step"]) for e in fleet.events("step")]
    assert len(trained) == len(set(trained))


def test_a_paused_study_holds_all_workers_and_goes_on_where_it_was(fleet):
    study = fleet.create(8)
    fleet.start(3, steps=30, step_seconds=0.03, grace=30.0)
    fleet.wait_for("step", count=12)
    pause(fleet.storage, study._study_id)
    _until(lambda: fleet.states()["RUNNING"] == 0)
    steps = len(fleet.events("step"))
    time.sleep(1.5)
    assert len(fleet.events("step")) == steps
    assert fleet.events("result") == []
    handed = [t.user_attrs for t in _attempts(fleet) if t.state == TrialState.FAIL]
    assert {a["fail_reason"] for a in handed} == {"the study is paused"}
    assert {a["failures"] for a in handed} == {0}
    resume(fleet.storage, study._study_id)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    _assert_whole(fleet, 8)
    _assert_no_step_twice(fleet)


def test_a_stopped_study_ends_all_workers_and_waits_for_a_launch(fleet):
    study = fleet.create(6)
    fleet.start(3, steps=30, step_seconds=0.03, grace=30.0)
    fleet.wait_for("step", count=12)
    stop(fleet.storage, study._study_id)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert {e["verdict"] for e in fleet.events("result")} == {"STOPPED"}
    assert fleet.states()["RUNNING"] == 0
    started = len(fleet.events("start"))
    fleet.start(1, steps=30)
    assert set(fleet.wait().values()) == {0}
    assert len(fleet.events("start")) == started
    lift_stop(fleet.storage, study._study_id)
    fleet.start(2, steps=30, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    _assert_whole(fleet, 6)
    _assert_no_step_twice(fleet)


def test_a_stop_ends_the_workers_of_its_time_even_if_a_launch_follows_at_once(postgres_fleet):
    fleet = postgres_fleet
    study = fleet.create(50)
    fleet.start(2, steps=20, step_seconds=0.05, grace=30.0)
    fleet.wait_for("step", count=4)
    stop(fleet.storage, study._study_id)
    lift_stop(fleet.storage, study._study_id)
    assert set(fleet.wait().values()) == {0}
    assert [e["verdict"] for e in fleet.events("result")] == ["STOPPED", "STOPPED"]
    assert fleet.states()["COMPLETE"] < 50


def test_a_cancelled_trial_fails_for_good_and_another_takes_its_place(fleet):
    study = fleet.create(4)
    fleet.start(2, steps=40, step_seconds=0.03, grace=30.0)
    fleet.wait_for("step", count=6)
    number = fleet.events("step")[-1]["number"]
    assert cancel(fleet.storage, study._study_id, number) == TrialState.RUNNING
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    cancelled = _attempts(fleet)[number]
    assert cancelled.state == TrialState.FAIL
    assert cancelled.user_attrs["fail_reason"] == "cancelled"
    assert max(e["step"] for e in fleet.events("step") if e["number"] == number) < 40
    assert [t for t in _attempts(fleet) if "retry_of" in t.user_attrs] == []
    _assert_whole(fleet, 4)


def test_a_cancelled_trial_whose_worker_died_is_not_taken_up_again(postgres_fleet):
    fleet = postgres_fleet
    study = fleet.create(2)
    fleet.start(1, steps=400, step_seconds=0.05)
    fleet.wait_for("step", count=2)
    fleet.close()
    fleet._groups, fleet._storage = [], None
    assert cancel(fleet.storage, study._study_id, 0) == TrialState.RUNNING
    fleet.start(1, steps=3)
    assert set(fleet.wait().values()) == {0}
    _until(lambda: fleet.states()["RUNNING"] == 0)
    assert _attempts(fleet)[0].user_attrs["fail_reason"] == "cancelled"
    _assert_whole(fleet, 2)


def test_budget_workers_and_queue_may_change_while_a_study_runs(fleet):
    study = fleet.create(1000)
    fleet.start(2, steps=5, step_seconds=0.05, grace=30.0)
    fleet.wait_for("end")
    fleet.start(1, steps=5, step_seconds=0.05, grace=30.0)
    _until(lambda: len({e["pid"] for e in fleet.events("start")}) == 3)
    enqueue(fleet.storage, study._study_id, {"x": 0.625}, user_attrs={})
    fewer = fleet.states()["COMPLETE"] + 10
    set_budget(fleet.storage, study._study_id, n_trials=fewer)
    assert set(fleet.wait().values()) == {0}
    assert 0.625 in [e["x"] for e in fleet.events("start")]
    _assert_whole(fleet, fewer)
    set_budget(fleet.storage, study._study_id, n_trials=fewer + 3)
    fleet.start(2, steps=5, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    _assert_whole(fleet, fewer + 3)


def test_a_trial_that_hangs_is_ended_with_its_process_and_tried_again(fleet):
    fleet.create(3, hang_timeout_seconds=2.0)
    (pid,) = fleet.start(1, steps=5, hang_at=3)
    assert fleet.wait() == {pid: 75}
    assert "error: trial 0 was ended: no evaluation for" in fleet.stderr()
    assert fleet.states() == {"FAIL": 1, "WAITING": 1}
    hung = _attempts(fleet)[0].user_attrs
    assert hung["failures"] == 1 and hung["fail_reason"].startswith("no evaluation for")
    assert "toy_worker.py" in hung["error"]  # where it hung
    fleet.start(1, steps=5, hang_at=3)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert fleet.events("start")[1]["resume"] == 2
    _assert_whole(fleet, 3)


def test_the_time_of_a_trial_is_counted_over_its_attempts(postgres_fleet):
    fleet = postgres_fleet
    fleet.create(1, trial_timeout_seconds=3.0)
    (pid,) = fleet.start(1, steps=4000, step_seconds=0.05)
    fleet.wait_for("step", count=20)
    fleet.close()
    fleet._groups, fleet._storage = [], None
    time.sleep(5.0)  # longer than a trial may run: nobody ran it
    fleet.start(1, steps=4000, step_seconds=0.05)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    first, second = _attempts(fleet)
    assert first.state == TrialState.FAIL and second.state == TrialState.PRUNED
    assert 0.5 < second.user_attrs["seconds_before"] < 5.0
    assert "a trial may for 3 s" in second.user_attrs["prune_reason"]
    assert second.value == second.intermediate_values[second.last_step]
    assert fleet.events("start")[1]["resume"] >= 19


def test_a_faulty_objective_stops_the_study_on_all_workers(fleet):
    study = fleet.create(50)
    fleet.start(3, fail=True, grace=30.0)
    assert set(fleet.wait().values()) == {1}  # the same command may do, once the cause is mended
    assert 5 <= fleet.states()["FAIL"] < 10
    assert fleet.states()["RUNNING"] == fleet.states()["WAITING"] == 0
    lines = [line for line in fleet.stderr().splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert all("5 trials failed in a row" in line for line in lines)
    # A launch after the cause is mended is not held to what was before.
    lift_stop(fleet.storage, study._study_id)
    set_budget(fleet.storage, study._study_id, n_trials=4)
    fleet.start(2, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    _assert_whole(fleet, 4)
