"""Who is taken for dead, and who is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import update

from search.storage.heartbeat import Pulse, give_sign
from search.storage.processes import has_ended, this_process
from search.storage.rows import clock, models
from search.storage.trial_queue import claim


@pytest.fixture
def running(new_study, storage):
    study = new_study(2)
    return study, claim(storage, study._study_id, token="t", worker="elsewhere").trial_id


@pytest.fixture
def pulse(running, storage):
    """Of another worker; not started, so that it looks when it is told to."""
    return Pulse(storage, running[0]._study_id, max_failures=3)


def fall_silent(storage, trial_id, seconds):
    def work(session, again):
        beats = models.TrialHeartbeatModel
        session.execute(
            update(beats)
            .where(beats.trial_id == trial_id)
            .values(heartbeat=clock(session) - timedelta(seconds=seconds))
        )

    storage.transaction(work)


def test_a_silent_trial_is_taken_away_when_it_is_found_silent_twice(running, pulse, storage):
    study, trial_id = running
    fall_silent(storage, trial_id, 10)
    assert pulse.reap() is True
    assert study.trials[0].state == TrialState.RUNNING
    time.sleep(storage.heartbeat_seconds)
    assert pulse.reap() is False
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_beat_between_two_looks_saves_a_trial(running, pulse, storage):
    study, trial_id = running
    fall_silent(storage, trial_id, 10)
    pulse.reap()
    time.sleep(storage.heartbeat_seconds)
    assert give_sign(storage, trial_id)
    assert pulse.reap() is False
    assert study.trials[0].state == TrialState.RUNNING


def test_a_report_is_a_sign_of_life(running, pulse, storage):
    study, trial_id = running
    fall_silent(storage, trial_id, 10)
    storage.set_trial_intermediate_value(trial_id, 1, 0.5)
    assert pulse.reap() is False
    assert study.trials[0].state == TrialState.RUNNING


def test_a_report_of_a_trial_that_has_ended_writes_nothing(running, storage):
    study, trial_id = running
    storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def last_beat(session, again):
        beats = models.TrialHeartbeatModel
        return session.query(beats.heartbeat).filter(beats.trial_id == trial_id).scalar()

    before = storage.transaction(last_beat)
    assert before is not None
    time.sleep(0.01)  # of more than the clock's milliseconds
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_intermediate_value(trial_id, 1, 0.5)
    assert storage.transaction(last_beat) == before
    assert study.trials[0].intermediate_values == {}


def test_a_trial_that_is_no_longer_running_cannot_give_a_sign(running, storage):
    study, trial_id = running
    storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert not give_sign(storage, trial_id)


def _ended_process(tmp_path):
    """What a process that has ended said that it is."""
    told = tmp_path / "process"
    code = (
        "import pathlib, sys; from search.storage.processes import this_process; "
        "pathlib.Path(sys.argv[1]).write_text(this_process())"
    )
    subprocess.run([sys.executable, "-c", code, str(told)], check=True)
    return told.read_text()


def test_a_trial_whose_process_has_ended_here_is_taken_away_at_once(new_study, storage, tmp_path):
    study, process = new_study(2), _ended_process(tmp_path)
    claim(storage, study._study_id, token="t", worker="here", process=process)
    assert Pulse(storage, study._study_id, max_failures=3).reap() is False
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs["fail_reason"] == "its worker's process ended"


def test_a_process_is_known_to_live_and_to_have_ended(tmp_path):
    assert not has_ended(this_process())
    ended = _ended_process(tmp_path)
    assert has_ended(ended)
    place, _, started_at = ended.rsplit(" ", 2)
    assert has_ended(f"{place} {os.getpid()} {started_at}")  # its number was given again
    _, namespace, rest = ended.split(" ", 2)
    assert not has_ended(f"another-boot {namespace} {rest}")
    assert not has_ended(f"{place}0 {rest}")
    assert not has_ended(None) and not has_ended("") and not has_ended("what is this")


def test_a_zombie_has_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = this_process().split()
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    named = " ".join([*process[:2], str(child.pid), stat[19]])
    assert not has_ended(named)
    child.kill()
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert has_ended(named)
    child.communicate()
