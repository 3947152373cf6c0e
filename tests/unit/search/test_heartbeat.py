"""Who is taken for dead, and who is not."""

from __future__ import annotations

import os
import shlex
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
from search.storage.processes import boot_of, has_ended, this_process
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


def test_a_trial_whose_process_has_ended_here_is_taken_away_after_two_missing_beats(
    new_study, storage, tmp_path
):
    study, process = new_study(2), _ended_process(tmp_path)
    claimed = claim(storage, study._study_id, token="t", worker="here", process=process)
    pulse = Pulse(storage, study._study_id, max_failures=3)
    # Machines that were cloned with their memory take each other's processes for their own: no
    # worker that beats loses its trial.
    fall_silent(storage, claimed.trial_id, 1.5 * storage.heartbeat_seconds)
    assert pulse.reap() is False
    assert study.trials[0].state == TrialState.RUNNING
    fall_silent(storage, claimed.trial_id, 2.5 * storage.heartbeat_seconds)
    assert pulse.reap() is False
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs["fail_reason"] == "its worker's process ended"


def test_a_beat_ahead_of_the_clock_is_as_unchanged_as_an_old_one(running, pulse, storage):
    """The machine died while its clock was ahead; by now it was set right."""
    study, trial_id = running
    fall_silent(storage, trial_id, -7200)
    began = time.monotonic()
    while study.trials[0].state == TrialState.RUNNING:
        pulse.reap()
        assert time.monotonic() - began < 10 * storage.grace_seconds
        time.sleep(storage.heartbeat_seconds / 4)
    assert time.monotonic() - began >= storage.grace_seconds
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_clock_that_is_set_back_takes_no_trial_from_a_worker_that_beats(running, pulse, storage):
    study, trial_id = running
    fall_silent(storage, trial_id, -7200)
    end = time.monotonic() + 2 * storage.grace_seconds + 4 * storage.heartbeat_seconds
    while time.monotonic() < end:
        pulse.reap()
        assert give_sign(storage, trial_id)
        time.sleep(storage.heartbeat_seconds / 2)
    assert study.trials[0].state == TrialState.RUNNING


def test_a_process_is_known_to_live_and_to_have_ended(tmp_path):
    assert not has_ended(this_process())
    ended = _ended_process(tmp_path)
    assert has_ended(ended)
    place, _, started_at = ended.rsplit(" ", 2)
    assert has_ended(f"{place} {os.getpid()} {started_at}")  # its number was given again
    boot, host, namespace, rest = ended.split(" ", 3)
    assert boot_of(ended) == boot and boot_of(None) is None
    assert not has_ended(f"another-boot {host} {namespace} {rest}")
    assert not has_ended(f"{boot} another-host {namespace} {rest}")
    assert not has_ended(f"{place}0 {rest}")
    assert not has_ended(None) and not has_ended("") and not has_ended("what is this")
    assert not has_ended(f"{place} {10**30} 1") and not has_ended(f"{place} x 1")


def test_a_process_of_an_older_version_is_told_by_its_silence(tmp_path):
    boot, _, rest = _ended_process(tmp_path).split(" ", 2)
    assert not has_ended(f"{boot} {rest}")  # without the machine's name


def test_a_zombie_has_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = this_process().rsplit(" ", 2)
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    named = f"{process[0]} {child.pid} {stat[19]}"
    assert not has_ended(named)
    child.kill()
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert has_ended(named)
    child.communicate()


# What /proc is like where a process looks for others, as far as it can be made here.
PLACES = {
    "it hides the processes of other users": (
        ["--mount"],
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --clear-groups {}",
    ),
    "it lacks the boot": (["--mount"], "mount -t tmpfs none /proc/sys/kernel/random && exec {}"),
    "it is that of the processes around a container": (["--pid", "--fork"], "exec {}"),
}


def _look_from(place, process):
    """What a process there says of another one, and of itself."""
    options, script = PLACES[place]
    check = (
        "import sys; from search.storage.processes import has_ended, this_process; "
        "print(has_ended(sys.argv[1]), this_process())"
    )
    looking = " ".join(shlex.quote(part) for part in (sys.executable, "-c", check, process))
    done = subprocess.run(
        ["unshare", *options, "sh", "-c", script.format(looking)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    if any(words in done.stderr for words in ("not permitted", "ermission", "must be superuser")):
        pytest.skip(f"this user may make no namespaces: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(" ", 1)


@pytest.mark.parametrize("place", PLACES)
def test_no_living_process_has_ended_wherever_one_looks_from(place):
    ended, itself = _look_from(place, this_process())
    assert ended == "False"
    if "hides" not in place:  # who cannot know others does not let itself be known
        assert itself == "None"


def test_a_process_that_ended_is_known_where_others_are_hidden(tmp_path):
    place = "it hides the processes of other users"
    assert _look_from(place, _ended_process(tmp_path))[0] == "True"
