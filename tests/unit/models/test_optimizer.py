from __future__ import annotations

import pytest
import torch

from models.examples import _unique_words_of_fixed_size, unique_words
from models.optimizer import LazyRows, WordNumbers

ROWS, DIM = 12, 4
pytestmark = pytest.mark.usefixtures("loops")


def run_both(batches, *, weight_decay, rates):
    """Lazy and dense AdamW over the same batches of ids and gradients of their own rows."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(ROWS, DIM, generator=generator)
    start[0] = 0
    dense = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([dense], weight_decay=weight_decay)
    lazy = LazyRows(start.clone(), torch.tensor(rates), weight_decay=weight_decay)
    for ids, rate in zip(batches, rates, strict=True):
        target = torch.randn(len(ids), DIM, generator=generator)
        rows = lazy.read(ids.int())
        gradient = torch.zeros_like(rows.values)
        gradient.index_add_(0, rows.token_ids, 2 * (rows.values[rows.token_ids] - target))
        lazy.write(rows, gradient)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=False) if dense.grad is not None else None
        ((dense[ids] - target) ** 2).sum().backward()
        optimizer.step()
    lazy.flush()
    return lazy.table, dense.detach()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_every_row_in_every_batch_it_is_dense_adamw(weight_decay):
    batches = [torch.arange(1, ROWS)] * 50
    rates = [0.01 * (1 - step / 50) for step in range(50)]
    lazy, dense = run_both(batches, weight_decay=weight_decay, rates=rates)
    torch.testing.assert_close(lazy, dense, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rows_left_out_for_long_follow_dense_adamw_too(weight_decay):
    """Some rows are read at every step, some twice in 500, one never."""
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randint(1, 5, (6,), generator=generator) for _ in range(500)]
    batches[100] = batches[480] = torch.tensor([6, 7, 2])
    rates = [0.01 * (1 - step / 500) for step in range(500)]
    lazy, dense = run_both(batches, weight_decay=weight_decay, rates=rates)
    torch.testing.assert_close(lazy, dense, rtol=1e-3, atol=2e-5)


def test_a_row_left_alone_since_before_its_momentum_died_still_moved_by_it():
    batches = [torch.tensor([3, 4])] * 3 + [torch.tensor([4])] * 300
    lazy, dense = run_both(batches, weight_decay=0.0, rates=[0.01] * len(batches))
    torch.testing.assert_close(lazy[3], dense[3], rtol=1e-3, atol=2e-5)


def test_flushing_in_between_changes_nothing():
    def final(flush_every):
        generator = torch.Generator().manual_seed(2)
        lazy = LazyRows(torch.ones(ROWS, DIM), torch.full((40,), 0.01), weight_decay=0.1)
        for step in range(40):
            rows = lazy.read(torch.randint(1, ROWS, (3,), generator=generator).int())
            lazy.write(rows, 2 * rows.values)
            if step % flush_every == 0:
                lazy.flush()
        lazy.flush()
        return lazy.table

    torch.testing.assert_close(final(100), final(3))


def test_the_padding_row_stays_zero():
    table = torch.ones(ROWS, DIM)
    table[0] = 0
    lazy = LazyRows(table, torch.full((5,), 0.01), weight_decay=0.1)
    for _ in range(5):
        rows = lazy.read(torch.tensor([3, 4], dtype=torch.int32))
        lazy.write(rows, (rows.row_ids > 0).float()[:, None].expand(-1, DIM))
    assert not lazy.table[0].any()


def test_unique_words_are_the_padding_and_then_each_word_once():
    words, positions = unique_words(torch.tensor([7, 3, 7, 9], dtype=torch.int32))
    assert words.tolist() == [0, 3, 7, 9]
    assert words[positions].tolist() == [7, 3, 7, 9]


def test_unique_words_of_fixed_size_name_the_same_tokens():
    words, positions = _unique_words_of_fixed_size(torch.tensor([0, 7, 3, 7, 9]))
    assert words.tolist() == [0, 3, 7, 9, 0]
    assert words[positions].tolist() == [7, 3, 7, 9]


def test_word_numbers_name_each_token_and_are_ready_for_the_next_batch():
    numbers = WordNumbers(12)
    for token_ids in ([7, 3, 7, 9], [9, 3, 11], []):
        words, positions = numbers.number(torch.tensor(token_ids, dtype=torch.int32))
        assert int(words[0]) == 0
        assert sorted(words.tolist()) == sorted({0, *token_ids})
        assert words[positions.long()].tolist() == token_ids
