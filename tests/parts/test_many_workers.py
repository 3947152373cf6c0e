"""What a study promises whatever happens to its workers, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
import time

from optuna.trial import TrialState


def _assert_whole(fleet, n_trials):
    """The budget is met exactly, and nothing is left over."""
    states = fleet.states()
    assert states["COMPLETE"] + states["PRUNED"] == n_trials, (states, fleet.stderr())
    assert states["RUNNING"] == states["WAITING"] == 0, states
    assert "Traceback" not in fleet.stderr()


def _assert_resumed(fleet):
    """Every retried trial began right after its checkpoint, and has the curve of one attempt."""
    steps = {trial.number: trial for trial in fleet.study().get_trials(deepcopy=False)}
    for start in fleet.events("start"):
        trial = steps[start["number"]]
        if "retry_of" in trial.user_attrs:
            assert trial.user_attrs["resumed_from"] == start["resume"]
            # Empty: killed before it had any. The same seed then draws the same ones.
            assert steps[trial.user_attrs["root"]].params in ({}, trial.params)
        if trial.state == TrialState.COMPLETE:
            assert sorted(trial.intermediate_values) == list(range(1, 11))


def test_trials_of_killed_workers_are_resumed_and_the_budget_stays_exact(fleet):
    fleet.create(12)
    pids = fleet.start(3, steps=10)
    fleet.wait_for("step", count=8)
    os.kill(pids[0], signal.SIGKILL)
    time.sleep(random.uniform(0.1, 0.6))
    os.kill(pids[1], signal.SIGKILL)
    codes = fleet.wait()
    assert codes[pids[2]] == 0
    _assert_whole(fleet, 12)
    _assert_resumed(fleet)
    trained = [(e["root"], e["step"]) for e in fleet.events("step")]
    assert len(trained) - len(set(trained)) <= 2  # one step per kill


def test_the_next_worker_goes_on_with_the_trial_of_the_last_one_killed(fleet):
    fleet.create(2)
    (pid,) = fleet.start(steps=10, step_seconds=0.1)
    fleet.wait_for("step", count=14)
    os.kill(pid, signal.SIGKILL)
    fleet.wait()
    started = len(fleet.events("start"))
    time.sleep(4.5)
    fleet.start(steps=10)
    assert set(fleet.wait().values()) == {0}
    first = fleet.events("start")[started]
    assert first["root"] == 1 and first["resume"] >= 2
    assert first["x"] == fleet.events("start")[1]["x"]
    _assert_whole(fleet, 2)
    _assert_resumed(fleet)


def test_eight_workers_neither_exceed_nor_miss_the_budget(fleet):
    fleet.create(20)
    fleet.start(8, steps=3, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    _assert_whole(fleet, 20)
    assert len(fleet.study().get_trials(deepcopy=False)) == 20
    fleet.start(1)
    assert set(fleet.wait().values()) == {0}
    assert len(fleet.events("start")) == 20
    fleet.start(1, create=True, n_trials=30)
    assert set(fleet.wait().values()) == {0}
    assert len(fleet.events("start")) == 30
    _assert_whole(fleet, 30)


def test_eight_first_workers_may_meet_an_empty_database(fleet):
    fleet.start(8, create=True, n_trials=8, steps=1, grace=30.0)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert len(fleet.study()._storage.get_all_studies()) == 1
    _assert_whole(fleet, 8)


def test_every_enqueued_configuration_runs_once(fleet):
    study = fleet.create(150)
    for i in range(150):
        study.enqueue_trial({"x": i / 150})
    fleet.start(8, steps=1, step_seconds=0.0, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    failed = [t.user_attrs for t in fleet.study().get_trials() if t.state == TrialState.FAIL]
    assert failed == [], fleet.stderr()
    assert sorted(e["x"] for e in fleet.events("start")) == [i / 150 for i in range(150)]
    _assert_whole(fleet, 150)


def test_a_worker_that_slept_drops_the_trial_it_lost_and_goes_on(fleet):
    fleet.create(16)
    sleeper, _ = fleet.start(2, steps=10, step_seconds=0.05)
    fleet.wait_for("step", count=6)
    os.kill(sleeper, signal.SIGSTOP)
    lost, end = [], time.monotonic() + 40
    while not lost and time.monotonic() < end:  # grace, and a second look
        time.sleep(0.2)
        trials = fleet.study().get_trials(deepcopy=False)
        lost = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(lost) == 1
    os.kill(sleeper, signal.SIGCONT)
    assert set(fleet.wait().values()) == {0}
    _assert_whole(fleet, 16)
    after = fleet.study().get_trials(deepcopy=False)[lost[0].number]
    assert after == lost[0]
    mine = [e for e in fleet.events("end") if e["number"] == lost[0].number]
    assert [e["state"] for e in mine] == ["RUNNING"]


def test_sigterm_hands_the_trial_on_within_seconds(fleet):
    fleet.create(4)
    (pid,) = fleet.start(steps=10, step_seconds=0.1)
    fleet.wait_for("step", count=3)
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    assert set(fleet.wait().values()) == {0}
    assert time.monotonic() - began < 10
    assert fleet.states() == {"FAIL": 1, "WAITING": 1}
    last = fleet.events("step")[-1]["step"]
    fleet.start(steps=10)
    fleet.wait()
    assert fleet.events("start")[1]["resume"] == last
    copy = fleet.study().get_trials(deepcopy=False)[1]
    assert copy.user_attrs["failures"] == 0
    _assert_whole(fleet, 4)
    _assert_resumed(fleet)


def test_the_second_ctrl_c_ends_at_once_and_leaves_nothing_running(fleet):
    fleet.create(4)
    (pid,) = fleet.start(steps=3, step_seconds=30.0)
    fleet.wait_for("start")
    began = time.monotonic()
    os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    os.kill(pid, signal.SIGINT)
    assert set(fleet.wait().values()) == {0}
    assert time.monotonic() - began < 15
    assert fleet.states() == {"FAIL": 1, "WAITING": 1}
    assert "Traceback" not in fleet.stderr()


def test_a_study_under_a_rain_of_kills_ends_whole(fleet):
    fleet.create(15)
    alive = fleet.start(3, steps=10, step_seconds=0.03)
    kills = 0
    for _ in range(6):
        time.sleep(1.0)
        victim = alive.pop(random.randrange(len(alive)))
        try:
            os.kill(victim, signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            break
        alive += fleet.start(1, steps=10, step_seconds=0.03)
    fleet.wait()
    _assert_whole(fleet, 15)
    _assert_resumed(fleet)
    given_up = [
        trial
        for trial in fleet.study().get_trials(deepcopy=False)
        if "given up" in trial.user_attrs.get("fail_reason", "")
    ]
    trained = len(fleet.events("step"))
    assert trained <= 15 * 10 + kills + 10 * len(given_up)


def test_no_trial_starts_after_the_studys_deadline(fleet):
    fleet.create(None, timeout_seconds=5.0)
    end = time.time() + 5.0
    fleet.start(1, steps=50, step_seconds=0.1)
    time.sleep(1.0)
    fleet.start(2, steps=50, step_seconds=0.1)
    assert set(fleet.wait().values()) == {0}
    assert fleet.events("start")[-1]["time"] < end + 3.0
    assert {e["verdict"] for e in fleet.events("result")} == {"TIMED_OUT"}
    assert time.time() < end + 10
    assert fleet.states()["RUNNING"] == 0
