"""The course of the learning rate, and the order of the titles."""

from __future__ import annotations

import math

import pytest
import torch

from models import MLPConfig, build_model
from models.examples import Examples
from models.schedule import WARMUP_FRACTION, epoch_order, learning_rates
from models.training import Trainer, TrainingConfig


def test_the_rate_rises_to_its_height_then_falls_in_equal_steps_to_nearly_nothing():
    planned = learning_rates(1e-2, 200, decay=True)
    rising = math.ceil(len(planned) * WARMUP_FRACTION)
    assert len(planned) == 200
    assert max(planned) == planned[rising - 1] == pytest.approx(1e-2)
    ups = [b - a for a, b in zip(planned[: rising - 1], planned[1:rising], strict=True)]
    downs = [b - a for a, b in zip(planned[rising - 1 : -1], planned[rising:], strict=True)]
    assert all(up == pytest.approx(1e-2 / rising) for up in ups)
    assert all(down == pytest.approx(downs[0]) and down < 0 for down in downs)
    assert 0 < planned[-1] < 1e-4


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_in_the_shortest_runs_every_step_has_a_rate_above_zero(num_steps):
    planned = learning_rates(1e-2, num_steps, decay=True)
    assert len(planned) == num_steps
    assert all(0 < rate <= 1e-2 for rate in planned)
    assert max(planned) == pytest.approx(1e-2)


def test_without_decay_the_rate_stays():
    assert learning_rates(0.3, 3, decay=False) == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("decay", [False, True])
def test_training_takes_the_planned_rates(decay):
    """Weights that get the same gradient sign every step move by the rate of each step."""
    titles = Examples(
        torch.full((40,), 2, dtype=torch.int32), torch.arange(41), torch.zeros(40).long()
    )
    settings = TrainingConfig(
        num_epochs=40,
        batch_size=1000,
        learning_rate=1e-3,
        decay=decay,
        evaluations_per_epoch=1,
        bfloat16=False,
    )
    model = build_model(MLPConfig(3, 4, 2, hidden_sizes=(), dropout=0.0, freeze_embeddings=True))
    trainer = Trainer(model, settings, titles, titles)
    bias = model.stack.output.bias.detach()
    biases = [float(bias[0]), *(float(bias[0]) for _ in trainer.run())]
    moves = [b - a for a, b in zip(biases[:-1], biases[1:], strict=True)]
    assert moves == pytest.approx(learning_rates(1e-3, 40, decay=decay), rel=0.05)


@pytest.mark.parametrize(
    ("num_titles", "num_epochs"), [(1, 1), (10, 1), (11, 1), (35, 1), (100, 20)]
)
def test_a_run_plans_a_rate_for_each_of_its_batches_the_smaller_last_ones_too(
    num_titles, num_epochs
):
    titles = Examples(
        torch.full((num_titles,), 2, dtype=torch.int32),
        torch.arange(num_titles + 1),
        torch.zeros(num_titles).long(),
    )
    settings = TrainingConfig(
        num_epochs=num_epochs, batch_size=10, decay=True, evaluations_per_epoch=1
    )
    trainer = Trainer(build_model(MLPConfig(3, 4, 2, hidden_sizes=())), settings, titles, titles)
    num_batches = math.ceil(num_titles / 10)
    assert trainer._rates == learning_rates(1e-3, num_epochs * num_batches, decay=True)
    assert len(list(trainer.run())) == num_epochs


def test_epochs_are_different_permutations():
    first, second = (epoch_order(50, seed=3, epoch=epoch) for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, torch.arange(50))
    assert torch.equal(first, epoch_order(50, seed=3, epoch=0))
