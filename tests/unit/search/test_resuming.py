"""A trial that is interrupted, at any of its steps, ends as if it had not been."""

from __future__ import annotations

import itertools
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from optuna.pruners import ThresholdPruner
from optuna.trial import TrialState

from models.checkpoints import load_checkpoint, save_checkpoint
from search.checkpoints import CheckpointStore
from search.spaces import good_starts
from search.storage.budget import set_budget
from search.storage.control import cancel
from search.workers import lookout

EPOCHS = 2
STEPS = 4 * EPOCHS
MODELS = ("mlp", "cnn")


class Eager(CheckpointStore):
    """Saves at every step. After that of ``fail_after``, memory runs out, once."""

    fail_after = None

    def is_worth(self, state, seconds):
        return True

    def save(self, root, state, step, *, configuration):
        super().save(root, state, step, configuration=configuration)
        if step == self.fail_after:
            self.fail_after = None
            raise MemoryError


class Full(CheckpointStore):
    """On a disk that takes no file of more than a kilobyte."""

    def is_worth(self, state, seconds):
        return True

    def save(self, root, state, step, *, configuration):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            super().save(root, state, step, configuration=configuration)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def params(model, **changes):
    """A configuration that learns something in a dozen batches."""
    quick = {"batch_size": 128, "learning_rate": 0.02, "dropout": 0.1}
    return good_starts(model, EPOCHS)[0] | quick | changes


def finished(study):
    """The only trial that was finished."""
    (trial,) = study.get_trials(states=(TrialState.COMPLETE,))
    return trial


def outcome(study):
    """What the only trial that was finished came to, but for times."""
    trial = finished(study)
    names = ("epochs", "best_epoch", "accuracy", "loss")
    return trial.value, trial.intermediate_values, *(trial.user_attrs[name] for name in names)


@pytest.fixture
def twins(new_study, run):
    """A function: two studies of the same trial, of which the first has run."""

    def make(model="mlp", n_trials=1, **changes):
        whole, parts = new_study(1, name="whole"), new_study(n_trials, name="parts")
        for study in (whole, parts):
            study.enqueue_trial(params(model, **changes))
        run(whole, model)
        return whole, parts

    return make


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stop_at", range(1, STEPS + 1))
def test_a_trial_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    twins, run, checkpoints, model, stop_at
):
    whole, parts = twins(model)
    assert run(parts, model, stop_at=stop_at).steps[-1] == stop_at
    # At its last step there is nothing to stop: the trial has ended.
    assert len(parts.trials) == (1 if stop_at == STEPS else 2)
    assert checkpoints.step(0) == (0 if stop_at == STEPS else stop_at)
    assert run(parts, model).steps == [*range(stop_at + 1, STEPS + 1)]
    assert outcome(parts) == outcome(whole)
    assert finished(parts).user_attrs["seconds"] > 0


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_trial_that_ended_after_its_checkpoint_goes_on_from_it_in_the_same_worker(
    twins, run, store_of, step, monkeypatch
):
    """The worker has another trial's network and curve in memory, and no step may be left."""
    clock = (number**2 for number in itertools.count())  # no two trials take as long
    monkeypatch.setattr("models.training.time.perf_counter", lambda: next(clock))
    whole, parts = twins(n_trials=2)
    parts.enqueue_trial(params("mlp", dropout=0.6))
    store = store_of(kind=Eager)
    store.fail_after = step
    heard = run(parts, checkpoints=store)
    assert heard.steps == [*range(1, step + 1), *range(1, STEPS + 1), *range(step + 1, STEPS + 1)]
    failed, other, trial = parts.trials
    assert failed.state == TrialState.FAIL and failed.user_attrs["failures"] == 1
    assert trial.user_attrs["retry_of"] == 0 and trial.user_attrs["resumed_from"] == step
    assert trial.state == other.state == TrialState.COMPLETE
    expected = finished(whole)
    assert (trial.value, trial.intermediate_values) == (
        expected.value,
        expected.intermediate_values,
    )
    for name in ("epochs", "best_epoch", "accuracy", "loss"):
        assert trial.user_attrs[name] == expected.user_attrs[name]
    assert 0 < trial.user_attrs["seconds"] != other.user_attrs["seconds"]


def test_what_ends_a_trial_before_its_time_ends_none_after_its_last_step(
    twins, run, storage, monkeypatch
):
    monkeypatch.setattr(lookout, "_LOOK_SECONDS", 0.0)
    whole, parts = twins()

    def time_out():
        set_budget(storage, parts._study_id, n_trials=1, trial_timeout_seconds=0.001)

    pruner = ThresholdPruner(lower=2.0, n_warmup_steps=STEPS)  # no accuracy is good enough
    run(parts, pruner=pruner, stop_at=STEPS, on_stop=time_out)
    assert outcome(parts) == outcome(whole)
    assert "prune_reason" not in finished(parts).user_attrs


def test_what_a_user_cancels_ends_after_its_last_step_too(new_study, run, storage, monkeypatch):
    monkeypatch.setattr(lookout, "_LOOK_SECONDS", 0.0)
    study = new_study(1)
    study.enqueue_trial(params("mlp"))

    def cancel_and_stop():
        cancel(storage, study._study_id, 0)
        signal.raise_signal(signal.SIGTERM)

    run(study, stop_at=STEPS, on_stop=cancel_and_stop)
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL and trial.user_attrs["fail_reason"] == "cancelled"


def _cut(path):
    path.write_bytes(path.read_bytes()[:-500])
    return "is not a whole checkpoint"


def _lose(path):
    path.unlink()
    return None


def _put_a_folder_in_its_place(path):
    path.unlink()
    path.mkdir()
    return "Is a directory"


def _write_another_format(path):
    save_checkpoint(load_checkpoint(path) | {"format": 99}, path)
    return "was written by another version"


def _change_the_state(path, change):
    content = load_checkpoint(path)
    change(content["state"])
    save_checkpoint(content, path)


def _lose_a_part(path):
    """The network's weights are loaded before that is noticed."""
    _change_the_state(path, lambda state: state.pop("weights"))
    return "cannot be loaded (KeyError: 'weights')"


def _give_other_shapes(path):
    def change(state):
        state["weights"]["first_moments"] = torch.zeros(7)

    _change_the_state(path, change)
    return "cannot be loaded (RuntimeError: "


def _take_another_configurations(path):
    save_checkpoint(load_checkpoint(path) | {"configuration": "c9"}, path)
    return "has other configuration"


def _take_another_curve(path):
    def change(state):
        state["evaluations"][1]["balanced_accuracy"] += 0.001

    _change_the_state(path, change)
    return "at step 2, the study"


def _take_a_later_step(path):
    path.rename(path.with_name("trial-0-step-7.pt"))
    return "the study lacks step 7 of its checkpoint"


@pytest.mark.parametrize(
    "spoil",
    [
        _cut,
        _lose,
        _put_a_folder_in_its_place,
        _write_another_format,
        _lose_a_part,
        _give_other_shapes,
        _take_another_configurations,
        _take_another_curve,
        _take_a_later_step,
    ],
)
def test_a_checkpoint_that_is_of_no_use_costs_time_a_line_and_not_the_result(
    twins, run, tmp_path, spoil
):
    whole, parts = twins()
    run(parts, stop_at=5)
    (path,) = (tmp_path / "checkpoints").rglob("trial-0-step-5.pt")
    line = spoil(path)
    heard = run(parts)
    assert heard.steps == [*range(1, STEPS + 1)]
    if line is None:
        assert heard.messages == []
    else:
        (message,) = heard.messages
        assert message.startswith("trial 1 starts from scratch: ") and line in message
    assert outcome(parts) == outcome(whole)
    assert finished(parts).user_attrs["resumed_from"] == 0
    assert [trial.state for trial in parts.trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_another_study_of_the_same_name_has_its_own_checkpoints(new_study, run, store_of, twins):
    """Two databases, one output folder: the second one's trial dies before its checkpoint."""
    whole, parts = twins(learning_rate=0.001)
    other = new_study(1, name="other")
    other.enqueue_trial(params("mlp"))
    run(other, stop_at=5)
    run(parts, checkpoints=store_of("k2"), stop_at=2)
    assert store_of().step(0) == 5
    heard = run(parts, checkpoints=store_of("k2"))
    assert heard.steps == [*range(3, STEPS + 1)] and heard.messages == []
    assert outcome(parts) == outcome(whole)
    assert store_of().step(0) == 5


def test_a_copy_goes_on_from_its_originals_checkpoint_and_leaves_it(twins, run, store_of):
    whole, parts = twins()
    run(parts, stop_at=5)
    copy = store_of("k2", origin_key="k1")
    assert run(parts, checkpoints=copy, stop_at=6).steps == [6]
    assert store_of().step(0) == 5 and copy.step(0) == 6
    assert run(parts, checkpoints=copy).steps == [7, 8]
    assert outcome(parts) == outcome(whole)
    assert store_of().step(0) == 5


def as_once_written(path, folder):
    """Write the checkpoint as versions did that kept it by the study's name."""
    state = load_checkpoint(path)["state"]
    last = state.pop("evaluations")[-1]
    folder.mkdir(parents=True)
    save_checkpoint(state | {"last": last}, folder / path.name)
    shutil.rmtree(path.parent)
    return folder / path.name


@pytest.mark.parametrize("stop_at", [5, STEPS])
def test_a_checkpoint_kept_by_the_studys_name_is_taken_up_if_it_is_the_trials(
    twins, run, store_of, tmp_path, stop_at
):
    whole, parts = twins()
    store = store_of(kind=Eager)
    store.fail_after = stop_at
    # Its next attempt is stopped before it has done a step.
    run(parts, checkpoints=store, stop_at=stop_at)
    (path,) = (tmp_path / "checkpoints").rglob("*.pt")
    path = as_once_written(path, tmp_path / "checkpoints" / "my%20study")
    heard = run(parts, checkpoints=store_of(study_name="my study"))
    assert heard.steps == [*range(stop_at + 1, STEPS + 1)] and heard.messages == []
    assert outcome(parts) == outcome(whole)
    assert path.exists()


def test_a_checkpoint_kept_by_the_studys_name_is_left_alone_if_it_is_anothers(
    new_study, twins, run, store_of, tmp_path
):
    whole, parts = twins(learning_rate=0.001)
    other = new_study(1, name="other")
    other.enqueue_trial(params("mlp"))
    run(other, stop_at=5)
    (path,) = (tmp_path / "checkpoints").rglob("*.pt")
    path = as_once_written(path, tmp_path / "checkpoints" / "toy")
    before = path.read_bytes()
    run(parts, stop_at=5)
    shutil.rmtree(tmp_path / "checkpoints" / "k1")  # its own was on another machine
    heard = run(parts, checkpoints=store_of(study_name="toy"))
    assert heard.steps == [*range(1, STEPS + 1)]
    (message,) = heard.messages
    assert "trial 1 starts from scratch: its checkpoint has 0." in message
    assert outcome(parts) == outcome(whole)
    assert path.read_bytes() == before


def test_a_full_disk_costs_one_line_and_no_trial(twins, run, store_of, tmp_path):
    whole, parts = twins()
    lines = []
    store = store_of(kind=Full, notify=lines.append)
    assert run(parts, checkpoints=store, stop_at=5).steps == [*range(1, 6)]
    assert len(lines) == 1 and "File too large" in lines[0]
    assert run(parts, checkpoints=store).steps == [*range(1, STEPS + 1)]
    assert len(lines) == 1
    assert outcome(parts) == outcome(whole)
    assert {trial.user_attrs.get("failures", 0) for trial in parts.trials} == {0}
    assert [path for path in Path(tmp_path / "checkpoints").rglob("*") if path.is_file()] == []
