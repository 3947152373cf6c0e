from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from models import MLPConfig, build_model
from models.balance import class_weights
from models.checkpoints import DamagedCheckpoint, load_checkpoint, save_checkpoint
from models.evaluation import evaluate
from models.training import Diverged, Trainer, TrainingConfig

CONFIG = TrainingConfig(
    num_epochs=2,
    batch_size=16,
    learning_rate=1e-2,
    weight_decay=0.1,
    class_weight_power=0.5,
    evaluations_per_epoch=3,
    decay=True,
)


def without_seconds(evaluations):
    return [dataclasses.replace(evaluation, seconds=0.0) for evaluation in evaluations]


def same_tensors(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("stop", range(1, 7))
def test_a_resumed_run_equals_the_straight_one_to_the_bit(
    config, examples, tmp_path, stop, freeze
):
    config = dataclasses.replace(config, freeze_embeddings=freeze)
    vectors = torch.randn(152, 16, generator=torch.Generator().manual_seed(0))
    vectors[0] = 0
    train, validation = examples(150), examples(60, seed=1)
    straight = Trainer(build_model(config, vectors), CONFIG, train, validation)
    expected = list(straight.run())

    first = Trainer(build_model(config, vectors), CONFIG, train, validation)
    run = first.run()
    before = [next(run) for _ in range(stop)]
    save_checkpoint(first.state_dict(), tmp_path / "trial.pt")
    second = Trainer(build_model(config, vectors, seed=77), CONFIG, train, validation)
    second.load_state_dict(load_checkpoint(tmp_path / "trial.pt"))
    after = list(second.run())

    assert without_seconds(before + after) == without_seconds(expected)
    assert without_seconds(second.evaluations) == without_seconds(expected)
    assert second.best == max(second.evaluations, key=lambda e: (e.is_best, e.step))
    assert same_tensors(second.model.state_dict(), straight.model.state_dict())
    assert same_tensors(second.best_state, straight.best_state)
    assert [e.seconds for e in before] == [e.seconds for e in second.evaluations[:stop]]
    assert all(later.seconds > before[-1].seconds for later in after)


@pytest.fixture
def trainer(examples):
    def make(**changes):
        config = dataclasses.replace(CONFIG, **changes)
        model = build_model(MLPConfig(152, 16, 5, hidden_sizes=(12,)))
        return Trainer(model, config, examples(150), examples(60, seed=1))

    return make


def test_steps_count_from_one_and_stand_for_equal_parts_of_an_epoch(trainer):
    evaluations = list(trainer().run())
    assert [e.step for e in evaluations] == [1, 2, 3, 4, 5, 6]
    assert evaluations[-1].epoch == 2.0


def test_more_evaluations_than_batches_in_an_epoch_still_yield_them_all(trainer):
    evaluations = list(trainer(batch_size=100, num_epochs=1, evaluations_per_epoch=5).run())
    assert [e.step for e in evaluations] == [1, 2, 3, 4, 5]
    assert all(math.isfinite(e.train_loss) and e.train_loss > 0 for e in evaluations)


def test_the_best_weights_are_those_of_the_best_evaluation(trainer):
    kept = trainer(learning_rate=0.05, num_epochs=4)
    evaluations = list(kept.run())
    best = max(evaluations, key=lambda e: (e.balanced_accuracy, -e.step))
    assert kept.best == best
    assert [e.step for e in evaluations if e.is_best][-1] == best.step
    kept.model.load_state_dict(kept.best_state)
    assert evaluate(kept.model, kept.validation).balanced_accuracy == best.balanced_accuracy


def test_best_weights_do_not_move_with_the_training(trainer):
    running = trainer()
    run = running.run()
    next(run)
    before = {name: value.clone() for name, value in running.best_state.items()}
    running._train_segment(1)
    assert same_tensors(running.best_state, before)


def test_patience_ends_the_training_after_so_many_evaluations_without_a_best(trainer):
    stopped = trainer(learning_rate=1e-9, weight_decay=0.0, patience=2, num_epochs=10)
    evaluations = list(stopped.run())
    assert evaluations[-1].step == stopped.best.step + 2


def test_a_trainer_that_ran_out_of_patience_is_done_and_is_so_when_it_is_loaded(trainer):
    options = {"learning_rate": 1e-9, "weight_decay": 0.0, "patience": 2, "num_epochs": 10}
    stopped, resumed = trainer(**options), trainer(**options)
    done = [stopped.is_done for _ in stopped.run()]
    assert done == [False] * (len(done) - 1) + [True]
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.is_done and list(resumed.run()) == []
    assert resumed.last == stopped.last and resumed.best == stopped.best


def test_a_loss_that_is_no_number_raises_diverged(trainer):
    diverging = trainer(learning_rate=1e30, decay=False)
    with pytest.raises(Diverged, match="training loss"):
        list(diverging.run())


def test_class_weights_have_mean_one_over_the_titles():
    labels = torch.tensor([0] * 90 + [1] * 10)
    weights = class_weights(labels, 3, power=0.5)
    assert float(weights[labels].mean()) == pytest.approx(1.0)
    assert float(weights[1] / weights[0]) == pytest.approx(3.0)
    assert class_weights(labels, 3, power=0.0) is None


def test_full_power_gives_every_class_the_same_sum():
    labels = torch.tensor([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2, power=1.0)
    assert float(weights[0] * 90) == pytest.approx(float(weights[1] * 10))


def test_a_cut_checkpoint_is_refused_with_its_name(tmp_path, trainer):
    path = tmp_path / "trial.pt"
    save_checkpoint(trainer().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DamagedCheckpoint, match=r"trial\.pt"):
        load_checkpoint(path)


def test_a_failed_save_keeps_the_old_checkpoint_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "trial.pt"
    save_checkpoint({"step": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint({"step": lambda: None}, path)
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_evaluation_sees_embeddings_that_dense_adamw_would_have(config, examples):
    """Rows that the last batches did not touch have still moved by their momentum."""
    running = Trainer(build_model(config), CONFIG, examples(150), examples(60, seed=1))
    first = next(running.run())
    metrics = evaluate(running.model, running.validation)
    assert metrics.loss == first.loss
    running._rows.flush()
    assert evaluate(running.model, running.validation).loss == first.loss
