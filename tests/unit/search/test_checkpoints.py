"""The checkpoints of the trials under way."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from functools import partial

import pytest
import torch
from optuna.trial import TrialState, create_trial

from models.checkpoints import DamagedCheckpoint, load_checkpoint, save_checkpoint
from search.checkpoints import (
    COST_FRACTION,
    LEAST_SECONDS,
    CheckpointStore,
    ForeignCheckpoint,
    remove_checkpoints,
)

FINGERPRINTS = {"data": "d1", "vectors": "v1"}


class Store(CheckpointStore):
    """One whose trials all have the same configuration, unless told otherwise."""

    def save(self, root, state, step, *, configuration="c1"):
        super().save(root, state, step, configuration=configuration)

    def load(self, root, step, *, configuration="c1"):
        return super().load(root, step, configuration=configuration)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def store_of(tmp_path, lines):
    return partial(Store, tmp_path / "checkpoints", fingerprints=FINGERPRINTS, notify=lines.append)


@pytest.fixture
def store(store_of):
    return store_of("mine")


@contextlib.contextmanager
def full_disk(size=1000):
    """No file may become larger than ``size`` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


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


def test_studies_do_not_see_each_others_checkpoints(store, store_of):
    store.save(0, state(1), 1)
    assert store_of("other").step(0) == 0


@pytest.mark.parametrize("name", ["../up", "a/b", "with space", "ñandú", "%2F", "..", ".", ""])
def test_any_key_and_any_study_name_stay_inside_the_folder(tmp_path, store_of, lines, name):
    store = store_of(name, study_name=name)
    store.save(0, state(1), 1)
    assert store_of(name).step(0) == 1
    assert len(files(tmp_path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"]
    remove_checkpoints(tmp_path / "checkpoints", name)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"] and not files(tmp_path)


@pytest.mark.parametrize("name", ["ñ" * 43, "词" * 29, "x" * 300])
def test_a_long_study_name_is_no_obstacle(store_of, lines, name):
    store = store_of("mine", study_name=name)
    store.save(0, state(1), 1)
    assert store.step(0) == 1 and lines == []


def leave_partial(tmp_path, *names, key="mine"):
    folder = tmp_path / "checkpoints" / key
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"half")
    return folder


def test_what_a_killed_writer_left_is_no_checkpoint_and_goes_with_the_next(store, tmp_path):
    store.save(2, state(1), 1)
    leave_partial(tmp_path, ".trial-2-step-7.pt.x1y2", ".trial-22-step-7.pt.x1y2")
    assert store.step(2) == 1
    store.save(2, state(2), 2)
    assert files(tmp_path) == [".trial-22-step-7.pt.x1y2", "trial-2-step-2.pt"]
    store.remove(22)
    assert files(tmp_path) == ["trial-2-step-2.pt"]


def test_partial_files_of_ended_trials_and_old_ones_go_at_the_next_start(store, tmp_path):
    folder = leave_partial(
        tmp_path, ".trial-0-step-7.pt.a", ".trial-1-step-7.pt.b", ".trial-2-step-7.pt.c", "note"
    )
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(folder / ".trial-2-step-7.pt.c", (long_ago, long_ago))
    store.remove_ended([attempt(0, 0, TrialState.FAIL), attempt(1, 1, TrialState.RUNNING)])
    assert files(tmp_path) == [".trial-1-step-7.pt.b", "note"]


def test_a_checkpoint_is_as_readable_as_any_file(store, tmp_path):
    before = os.umask(0o027)
    try:
        store.save(0, state(1), 1)
    finally:
        os.umask(before)
    (path,) = (tmp_path / "checkpoints").rglob("*.pt")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"study": "theirs"}, "another study's"),
        ({"configuration": "c2"}, "other configuration: c2, not c1"),
        ({"data": "d2"}, "other data: d2, not d1"),
        ({"vectors": "v2"}, "other vectors: v2, not v1"),
        ({"format": 1}, "another version"),
        ({"format": 99}, "another version"),
    ],
)
def test_a_file_that_is_not_the_trials_is_refused_and_left_alone(store, tmp_path, other, what):
    store.save(0, state(1), 3)
    path = tmp_path / "checkpoints" / "mine" / "trial-0-step-3.pt"
    save_checkpoint(load_checkpoint(path) | other, path)
    before = path.read_bytes()
    with pytest.raises(ForeignCheckpoint, match=what):
        store.load(0, 3)
    assert path.read_bytes() == before


def test_a_copy_reads_its_originals_checkpoints_and_changes_none(store, store_of, tmp_path):
    copy = store_of("copy", origin_key="mine")
    for root in (0, 1):
        store.save(root, state(root), 5)
    assert copy.step(0) == 5 and copy.load(0, 5)["weights"].tolist() == [0.0] * 3
    copy.save(0, state(7), 6)
    assert copy.step(0) == 6 and store.step(0) == 5
    copy.remove(0)
    copy.remove(1)
    copy.remove_ended([attempt(0, 0, TrialState.FAIL), attempt(1, 1, TrialState.COMPLETE)])
    remove_checkpoints(tmp_path / "checkpoints", "copy")
    assert store.step(0) == store.step(1) == 5


def test_what_was_kept_by_the_studys_name_is_read_and_never_removed(store_of, tmp_path):
    folder = tmp_path / "checkpoints" / "my%20study"
    folder.mkdir(parents=True)
    last = {"step": 4, "balanced_accuracy": 0.5}
    save_checkpoint({"last": last, "best": last, "model": {}}, folder / "trial-0-step-4.pt")
    store = store_of("mine", study_name="my study")
    assert store.step(0) == 4
    assert store.load(0, 4)["evaluations"] == [last]
    store.save(0, state(1), 5)
    assert store.step(0) == 5
    store.remove(0)
    store.remove_ended([attempt(0, 0, TrialState.COMPLETE)])
    remove_checkpoints(tmp_path / "checkpoints", "mine")
    assert files(tmp_path) == ["trial-0-step-4.pt"]


def test_a_full_disk_costs_a_line_and_leaves_what_there_was(store, tmp_path, lines):
    large = {"weights": torch.zeros(10_000)}
    store.save(0, state(1), 1)
    with full_disk():
        store.save(0, large, 2)
        store.save(0, large, 3)
    assert files(tmp_path) == ["trial-0-step-1.pt"]
    assert len(lines) == 1 and "File too large" in lines[0] and "training goes on" in lines[0]
    (tmp_path / "file").touch()
    unwritable = Store(tmp_path / "file", "k", fingerprints=FINGERPRINTS, notify=lines.append)
    unwritable.save(0, large, 1)
    assert len(lines) == 2 and unwritable.step(0) == 0


def test_what_cannot_be_removed_costs_a_line(store, tmp_path, lines):
    # A folder in a file's place cannot be unlinked, whoever asks.
    for root in (1, 2):
        (tmp_path / "checkpoints" / "mine" / f"trial-{root}-step-4.pt").mkdir(parents=True)
    store.save(2, state(2), 6)
    store.remove(1)
    store.remove_ended([attempt(1, 1, TrialState.FAIL)])
    assert len(lines) == 1 and "trial-2-step-4.pt cannot be removed" in lines[0]
    assert store.step(2) == 6


def test_a_missing_and_a_damaged_file_are_told_apart(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.load(0, 3)
    store.save(0, state(1), 3)
    path = tmp_path / "checkpoints" / "mine" / "trial-0-step-3.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedCheckpoint, match="trial-0-step-3"):
        store.load(0, 3)


def attempt(number, root, trial_state):
    value = 0.5 if trial_state == TrialState.COMPLETE else None
    made = create_trial(state=trial_state, value=value, user_attrs={"root": root})
    made.number = number
    return made


def test_what_ended_without_its_worker_is_removed_and_what_waits_is_kept(store, tmp_path):
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
