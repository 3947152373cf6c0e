"""The checkpoints of the trials under way."""

from __future__ import annotations

import time

import pytest
import torch
from optuna.trial import TrialState, create_trial

from models.checkpoints import DamagedCheckpoint
from search.checkpoints import COST_FRACTION, LEAST_SECONDS, CheckpointStore


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", "mine")


def files(tmp_path):
    return sorted(p.name for p in (tmp_path / "checkpoints").rglob("*") if p.is_file())


def state(value):
    return {"weights": torch.full((3,), float(value))}


def test_a_trial_without_a_checkpoint_stands_at_step_zero(store):
    assert store.step(0) == 0


def test_a_trial_resumes_from_what_was_saved_last(store):
    for step in (1, 2, 10):
        store.save(4, state(step), step)
    assert store.step(4) == 10
    assert store.load(4, 10)["weights"].tolist() == [10.0] * 3


def test_one_file_is_kept_for_each_trial(store, tmp_path):
    for step in (1, 2, 3):
        store.save(1, state(step), step)
        store.save(11, state(step), step)
    assert files(tmp_path) == ["trial-1-step-3.pt", "trial-11-step-3.pt"]


def test_a_trial_that_starts_again_leaves_no_later_step_behind(store):
    store.save(1, state(9), 9)
    store.save(1, state(2), 2)
    assert store.step(1) == 2


def test_removing_a_trial_leaves_the_others(store, tmp_path):
    for root in (1, 10, 11):
        store.save(root, state(root), 5)
    store.remove(1)
    assert store.step(1) == 0
    assert files(tmp_path) == ["trial-10-step-5.pt", "trial-11-step-5.pt"]


def test_removing_what_is_not_there_is_no_error(store):
    store.remove(3)


def test_studies_do_not_see_each_others_checkpoints(store, tmp_path):
    store.save(0, state(1), 1)
    assert CheckpointStore(tmp_path / "checkpoints", "other").step(0) == 0


@pytest.mark.parametrize("name", ["../up", "a/b", "with space", "ñandú", "%2F"])
def test_any_study_name_stays_inside_the_folder(tmp_path, name):
    store = CheckpointStore(tmp_path / "checkpoints", name)
    store.save(0, state(1), 1)
    assert CheckpointStore(tmp_path / "checkpoints", name).step(0) == 1
    assert len(files(tmp_path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"]


def test_what_a_killed_writer_left_is_no_checkpoint(store, tmp_path):
    store.save(2, state(1), 1)
    (tmp_path / "checkpoints" / "mine" / ".trial-2-step-7.pt.x1y2").write_bytes(b"half")
    assert store.step(2) == 1


def test_a_missing_and_a_damaged_file_are_told_apart(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.load(0, 3)
    store.save(0, state(1), 3)
    path = tmp_path / "checkpoints" / "mine" / "trial-0-step-3.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedCheckpoint, match="trial-0-step-3"):
        store.load(0, 3)


def test_what_ended_without_its_worker_is_removed_and_what_waits_is_kept(store, tmp_path):
    def attempt(number, root, trial_state):
        made = create_trial(state=trial_state, value=None, user_attrs={"root": root})
        made.number = number
        return made

    for root in (0, 1, 7):
        store.save(root, state(root), 5)
    store.remove_ended(
        [
            attempt(0, 0, TrialState.FAIL),
            attempt(1, 1, TrialState.FAIL),
            attempt(2, 1, TrialState.WAITING),
        ]
    )
    # Of trial 7 nothing was known when the study was read.
    assert files(tmp_path) == ["trial-1-step-5.pt", "trial-7-step-5.pt"]


def test_a_large_checkpoint_waits_for_more_training_than_a_small_one(store):
    small, large = state(1), {"weights": torch.empty(1).expand(10**9)}  # 4 GB that take none
    assert not store.is_worth(small, LEAST_SECONDS / 2)
    assert store.is_worth(small, LEAST_SECONDS)
    assert not store.is_worth(large, LEAST_SECONDS)
    assert store.is_worth(large, 3600)


def test_a_slow_disk_makes_checkpoints_rarer(store, monkeypatch):
    large = {"weights": torch.empty(1).expand(10**7)}
    clock = iter((0.0, 60.0))  # a minute for 40 MB
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    before = store.is_worth(large, 60)
    store.save(1, large, 1)
    assert (before, store.is_worth(large, 60)) == (True, False)
    assert store.is_worth(large, 60 / COST_FRACTION)


def test_a_small_file_says_nothing_of_the_disk(store, monkeypatch):
    clock = iter((0.0, 60.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    store.save(1, state(1), 1)
    assert store.is_worth(state(1), LEAST_SECONDS)
