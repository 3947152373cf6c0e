"""Whole studies on a real PostgreSQL while workers, and the server, are killed and come back.

They have the marker ``chaos``: ``make test-chaos``. Trials go to a real MLflow, whose run
of the best trial has to say what the study says.
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from search.tracking.client import Tracker, default_tracking_uri

# Of mlflow's own making, where the tests read what is in it.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

STEPS = 10
MAX_FAILURES = 3


@pytest.fixture
def tracking_uri(tmp_path):
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    uri = default_tracking_uri(tmp_path)
    MlflowClient(uri).search_experiments()  # its tables
    return uri


class Supervisor:
    """Keeps so many workers alive until they end by themselves, as ``restart: always`` would."""

    def __init__(self, fleet, workers, **options):
        self._fleet = fleet
        self._options = {"steps": STEPS, **options}
        self.alive = fleet.start(workers, **self._options)
        self.signalled = 0

    def signal(self, number):
        """Send it to a worker drawn by chance, and start another in its place."""
        victim = self.alive.pop(random.randrange(len(self.alive)))
        if number == signal.SIGTERM:  # not while it starts, before it has its handler
            _wait_for_handler(victim, number)
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            return
        self.signalled += 1
        self.alive += self._fleet.start(1, **self._options)


def _wait_for_handler(pid, number, seconds=40.0):
    until = time.monotonic() + seconds
    status = Path(f"/proc/{pid}/status")
    while status.exists() and time.monotonic() < until:
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", status.read_text())
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.05)


def _is_over(fleet, n_trials):
    states = fleet.states()
    return states["COMPLETE"] + states["PRUNED"] >= n_trials


def _attempts(fleet):
    return fleet.study().get_trials(deepcopy=False)


def _assert_whole(fleet, n_trials):
    """The budget met exactly, nothing left over, and every counted trial has its whole curve."""
    states = fleet.states()
    assert states["COMPLETE"] + states["PRUNED"] == n_trials, (states, fleet.stderr())
    assert states["RUNNING"] == states["WAITING"] == 0, states
    assert "Traceback" not in fleet.stderr()
    for trial in _attempts(fleet):
        if trial.state == TrialState.COMPLETE:
            steps = sorted(trial.intermediate_values)
            assert steps == list(range(1, 1 + len(steps)))
            assert trial.value == trial.intermediate_values[steps[-1]]


def _assert_little_repeated(fleet, kills):
    """What is trained twice is at most the step under way when its worker was killed."""
    trained = Counter((event["root"], event["step"]) for event in fleet.events("step"))
    assert trained.total() - len(trained) <= kills
    by_number = {trial.number: trial for trial in _attempts(fleet)}
    for start in fleet.events("start"):
        trial = by_number[start["number"]]
        if "retry_of" in trial.user_attrs:
            assert trial.user_attrs["resumed_from"] == start["resume"]


def _assert_retries_are_bounded(fleet):
    """No configuration fails more than three times; what was given up says so, others go on."""
    attempts = _attempts(fleet)
    followed = {trial.user_attrs.get("retry_of") for trial in attempts}
    for trial in attempts:
        assert trial.user_attrs.get("failures", 0) <= MAX_FAILURES
        if trial.state == TrialState.FAIL and trial.number not in followed:
            assert trial.user_attrs["failures"] == MAX_FAILURES
            assert "given up after 3 failed attempts" in trial.user_attrs["fail_reason"]


def _assert_best_is_kept(fleet, tracking_uri):
    """The best is the best of all that was trained to its end, and MLflow has its very curve."""
    tracker = Tracker(tracking_uri, study_name=fleet.study_name, spool_dir=fleet.folder)
    tracker.open()
    assert tracker.close(120.0) == 0
    best = fleet.study().best_trial
    ended = {e["root"] for e in fleet.events("end") if e["state"] == "COMPLETE"}
    drawn = {e["root"]: e["x"] for e in fleet.events("start")}
    assert best.value == drawn[best.user_attrs["root"]] * STEPS
    assert best.value >= max(drawn[root] for root in ended) * STEPS
    client = MlflowClient(tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    roots = Counter(run.data.tags["root"] for run in trials)
    assert set(roots.values()) == {1}  # one run however many attempts
    (run,) = [r for r in trials if r.data.tags["root"] == str(best.user_attrs["root"])]
    assert run.info.status == "FINISHED" and run.data.metrics["value"] == best.value
    curve = client.get_metric_history(run.info.run_id, "reported")
    assert {point.step: point.value for point in curve} == best.intermediate_values
    assert len(curve) == STEPS


@pytest.mark.chaos
def test_a_kill_every_five_seconds_for_three_minutes(postgres_fleet, tracking_uri):
    fleet, n_trials = postgres_fleet, 300
    fleet.create(n_trials)
    workers = Supervisor(fleet, 4, step_seconds=0.3, tracking_uri=tracking_uri)
    begun = time.monotonic()
    # However long the next worker takes to start, which a kill waits for.
    for seconds in range(5, 185, 5):
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        if _is_over(fleet, n_trials):
            break
        workers.signal(signal.SIGKILL)
    assert workers.signalled >= 30
    fleet.wait(240)
    _assert_whole(fleet, n_trials)
    _assert_little_repeated(fleet, workers.signalled)
    _assert_retries_are_bounded(fleet)
    _assert_best_is_kept(fleet, tracking_uri)


@pytest.mark.chaos
def test_postgres_dies_again_and_again(postgres, postgres_fleet, tracking_uri):
    fleet, n_trials = postgres_fleet, 60
    fleet.create(n_trials)
    fleet.start(4, steps=STEPS, step_seconds=0.3, tracking_uri=tracking_uri, grace=6.0)
    for down_seconds in (1.0, 20.0, 5.0):
        fleet.wait_for("step", count=len(fleet.events("step")) + 20)
        postgres.stop("immediate")
        time.sleep(down_seconds)
        postgres.start()
    assert set(fleet.wait(180).values()) == {0}, fleet.stderr()
    _assert_whole(fleet, n_trials)
    _assert_little_repeated(fleet, 0)
    assert fleet.states() == {"COMPLETE": n_trials}
    _assert_best_is_kept(fleet, tracking_uri)


@pytest.mark.chaos
def test_sigterm_at_random_moments_costs_no_step(postgres_fleet, tracking_uri):
    fleet, n_trials = postgres_fleet, 80
    fleet.create(n_trials)
    workers = Supervisor(fleet, 4, step_seconds=0.2, tracking_uri=tracking_uri, grace=30.0)
    while not _is_over(fleet, n_trials):
        time.sleep(random.uniform(0.5, 2.5))
        if not _is_over(fleet, n_trials):  # else workers are ending, without their handlers
            workers.signal(signal.SIGTERM)
    assert set(fleet.wait(180).values()) == {0}, fleet.stderr()
    assert workers.signalled >= 10
    _assert_whole(fleet, n_trials)
    _assert_little_repeated(fleet, 0)
    assert {t.user_attrs.get("failures", 0) for t in _attempts(fleet)} == {0}
    _assert_best_is_kept(fleet, tracking_uri)


@pytest.mark.chaos
def test_two_studies_at_once_leave_each_other_alone(postgres_fleet, make_fleet, tracking_uri):
    fleets = [postgres_fleet, make_fleet(postgres_fleet.url)]
    fleets[1].study_name = "other"
    fleets[1].folder = fleets[0].folder / "other"
    fleets[1].folder.mkdir()
    budgets = (60, 45)
    for fleet, n_trials in zip(fleets, budgets, strict=True):
        fleet.create(n_trials)
    workers = [
        Supervisor(fleet, 2, step_seconds=0.1, seed=seed, tracking_uri=tracking_uri)
        for seed, fleet in enumerate(fleets)
    ]
    while not all(map(_is_over, fleets, budgets)):
        time.sleep(4.0)
        for fleet, n_trials, group in zip(fleets, budgets, workers, strict=True):
            if not _is_over(fleet, n_trials):
                group.signal(signal.SIGKILL)
    for fleet, n_trials, group in zip(fleets, budgets, workers, strict=True):
        fleet.wait(120)
        _assert_whole(fleet, n_trials)
        _assert_little_repeated(fleet, group.signalled)
        _assert_retries_are_bounded(fleet)
    assert all(group.signalled >= 2 for group in workers)


@pytest.mark.chaos
def test_eight_workers_with_tiny_trials_are_killed_by_the_second(postgres_fleet):
    fleet, n_trials = postgres_fleet, 100
    fleet.create(n_trials)
    workers = Supervisor(fleet, 8, steps=2, step_seconds=0.05)
    while not _is_over(fleet, n_trials):
        time.sleep(1.0)
        workers.signal(signal.SIGKILL)
    fleet.wait(120)
    assert workers.signalled >= 2
    _assert_whole(fleet, n_trials)
    _assert_little_repeated(fleet, workers.signalled)
    _assert_retries_are_bounded(fleet)


@pytest.mark.chaos
@pytest.mark.parametrize("repetition", range(10))
def test_eight_workers_meet_the_budget_every_time(fleet, repetition):
    fleet.create(20)
    fleet.start(8, steps=3, step_seconds=0.03, grace=30.0)
    assert set(fleet.wait().values()) == {0}
    assert fleet.states() == {"COMPLETE": 20}


@pytest.mark.chaos
@pytest.mark.parametrize("repetition", range(10))
def test_eight_first_workers_meet_an_empty_database_every_time(fleet, repetition):
    fleet.start(8, create=True, n_trials=8, steps=1, grace=30.0)
    assert set(fleet.wait().values()) == {0}, fleet.stderr()
    assert len(fleet.storage.get_all_studies()) == 1
    assert fleet.states() == {"COMPLETE": 8}
