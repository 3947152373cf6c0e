"""A million updates in the corner of the search space: highest learning rate, most decay.

There weight decay shrinks a row that no title reads by e^-5000, far below what a float64 holds.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch

from models import CNNConfig, MLPConfig, build_model
from models.examples import Examples, unique_words
from models.optimizer import LazyRows, Rows
from models.schedule import learning_rates
from models.training import Trainer, TrainingConfig
from models.weights import BETA1, BETA2, EPSILON

UPDATES = 1_000_000
RATE, DECAY = 0.02, 0.5
ROWS, DIM = 24, 4
NUM_TITLES, BATCH, WORDS, CLASSES = 1000, 10, 200, 4
CONFIGS = {
    "mlp": MLPConfig(WORDS, 8, CLASSES, hidden_sizes=(6,), dropout=0.3, freeze_embeddings=False),
    "cnn": CNNConfig(
        WORDS, 8, CLASSES, num_filters=4, filter_lengths=(1, 2), hidden_sizes=(), dropout=0.3,
        freeze_embeddings=False,
    ),
}  # fmt: skip


class DenseRows:
    """In the place of ``LazyRows``: PyTorch's AdamW, which moves every row at every step."""

    def __init__(self, table, rates):
        self._table, self._rates = torch.nn.Parameter(table), iter(rates)
        self._table.grad = torch.zeros_like(table)
        self._optimizer = torch.optim.AdamW([self._table], weight_decay=DECAY, fused=True)

    def read(self, token_ids):
        row_ids, positions = unique_words(token_ids)
        return Rows(row_ids, positions, self._table.data.index_select(0, row_ids))

    def write(self, rows, gradient):
        self._table.grad.index_copy_(0, rows.row_ids, gradient)
        self._table.grad[0] = 0
        self._optimizer.param_groups[0]["lr"] = next(self._rates)
        self._optimizer.step()
        self._table.grad.index_fill_(0, rows.row_ids, 0)

    def flush(self):
        pass


@numba.njit
def dense_adamw(table, rates, steps, row_ids, gradients, found):
    """AdamW as published, in float64: row ``row_ids`` (N, R) of ``table`` has a gradient in step
    ``steps`` (N,) alone; into ``found`` (N, R, E) goes where it stands before."""
    first, second, gradient = np.zeros_like(table), np.zeros_like(table), np.zeros_like(table)
    n = 0
    for step in range(len(rates)):
        gradient[:] = 0
        if n < len(steps) and steps[n] == step:
            for k in range(row_ids.shape[1]):
                found[n, k] = table[row_ids[n, k]]
                gradient[row_ids[n, k]] = gradients[n, k]
            n += 1
        first_bias, second_bias = 1 - BETA1 ** (step + 1.0), 1 - BETA2 ** (step + 1.0)
        for v in range(len(table)):
            for j in range(table.shape[1]):
                first[v, j] = BETA1 * first[v, j] + (1 - BETA1) * gradient[v, j]
                second[v, j] = BETA2 * second[v, j] + (1 - BETA2) * gradient[v, j] ** 2
                root = math.sqrt(second[v, j] / second_bias) + EPSILON
                move = DECAY * table[v, j] + first[v, j] / first_bias / root
                table[v, j] -= rates[step] * move


def random_reads(rng):
    """Steps (N,) with a gradient, its rows (N, 3): rows that are read at nearly every step for
    a while, and again after gaps of up to a third of the run. Some rows are never read."""
    steps, step = [], 0
    while step < UPDATES:
        steps.extend(step := step + gap for gap in rng.integers(1, 4, 40).tolist())
        step += int(np.exp(rng.uniform(0, np.log(UPDATES / 3))))
    steps = [step for step in steps if step < UPDATES]
    rows = [1 + rng.choice(ROWS - 4, 3, replace=False) for _ in steps]
    return np.array(steps), np.array(rows)


def test_rows_follow_dense_adamw_through_a_million_steps(loops):
    rng = np.random.default_rng(0)
    steps, row_ids = random_reads(rng)
    gradients = rng.normal(0, 0.01, (*row_ids.shape, DIM))
    table = rng.normal(size=(ROWS, DIM))
    table[0] = 0
    rates = np.array(learning_rates(RATE, UPDATES, decay=True))
    lazy = LazyRows(torch.tensor(table).float(), torch.tensor(rates), weight_decay=DECAY)
    expected = np.zeros(gradients.shape)
    dense_adamw(table, rates, steps, row_ids, gradients, expected)
    for n, step in enumerate(steps.tolist()):
        lazy.step_count = step  # steps without gradients leave no other trace
        rows = lazy.read(torch.tensor(row_ids[n]).int())
        values = rows.values[rows.token_ids].double().numpy()
        np.testing.assert_allclose(values, expected[n], rtol=1e-3, atol=2e-5)
        gradient = torch.zeros_like(rows.values)
        gradient.index_add_(0, rows.token_ids, torch.tensor(gradients[n]).float())
        lazy.write(rows, gradient)
    lazy.step_count = UPDATES
    lazy.flush()
    np.testing.assert_allclose(lazy.table.numpy(), table, rtol=1e-3, atol=2e-5)


def titles(count, seed):
    """Titles of 0 to 5 tokens that tell their class; the higher a word, the rarer it is."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    lengths = torch.randint(0, 6, (count,), generator=generator)
    offsets = torch.zeros(count + 1, dtype=torch.int64)
    torch.cumsum(lengths, 0, out=offsets[1:])
    place = torch.rand(int(offsets[-1]), generator=generator) ** 6 * (WORDS - 4) / CLASSES
    token_ids = 2 + place.long() * CLASSES + labels.repeat_interleave(lengths)
    return Examples(token_ids.int(), offsets, labels)


def train(name, rows_type, *, evaluations):
    """Losses at the first ``evaluations`` of a run of a million updates, and the network."""
    model = build_model(CONFIGS[name], seed=3)
    per_epoch = NUM_TITLES // BATCH
    training = TrainingConfig(
        num_epochs=UPDATES // per_epoch,
        batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=DECAY,
        evaluations_per_epoch=1,
        decay=True,
        bfloat16=False,  # it would round small differences up
    )
    trainer = Trainer(model, training, titles(NUM_TITLES, 1), titles(40, 2))
    if rows_type is DenseRows:
        trainer._rows = DenseRows(model.embedding, learning_rates(RATE, UPDATES, decay=True))
    run = trainer.run()
    losses = [next(run).train_loss for _ in range(evaluations)]
    assert (next(run, None) is None) == (evaluations == trainer.num_steps)
    return losses, model.embedding.detach()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_of_a_million_updates_begins_as_with_dense_adamw(name):
    losses, table = train(name, LazyRows, evaluations=1)
    expected, dense = train(name, DenseRows, evaluations=1)
    assert losses == pytest.approx(expected, rel=1e-3)
    assert torch.isfinite(table).all()
    torch.testing.assert_close(table, dense, rtol=1e-2, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_of_a_million_updates_ends_as_with_dense_adamw(name):
    losses, table = train(name, LazyRows, evaluations=UPDATES * BATCH // NUM_TITLES)
    expected, dense = train(name, DenseRows, evaluations=UPDATES * BATCH // NUM_TITLES)
    assert all(map(math.isfinite, losses)) and all(map(math.isfinite, expected))
    assert losses[-100:] == pytest.approx(expected[-100:], rel=1e-2)
    torch.testing.assert_close(table, dense, rtol=1e-2, atol=1e-3)
