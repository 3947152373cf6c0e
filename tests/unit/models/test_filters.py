"""Filters of one length against a loop over the windows, in all their ways."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from models import kernels
from models.examples import Examples, pad_titles
from models.filters import (
    FEWEST_TITLES_TO_SHARE,
    greatest_answers,
    train_greatest_answers,
    train_windows,
    windows,
)
from models.layers import linear_layer
from models.weights import DenseWeights

DIM, NUM_FILTERS, NUM_ROWS = 6, 9, 12
TITLES = Examples(
    torch.tensor([5, 6, 7, 8, 9, 4], dtype=torch.int32),
    torch.tensor([0, 2, 2, 5, 6]),
    torch.tensor([0, 1, 2, 3]),
)


def test_windows_hold_words_alone_or_are_the_first_of_a_short_title():
    token_ids, offsets = pad_titles(TITLES.token_ids, TITLES.offsets, 4)
    ids, titles = windows(token_ids, offsets, 2)
    assert ids[:5].tolist() == [[5, 6], [0, 0], [7, 8], [8, 9], [4, 0]]
    assert titles[:5].tolist() == [0, 1, 2, 2, 3]


def test_windows_are_filled_up_with_the_first_so_that_few_sizes_occur():
    ids, titles = windows(TITLES.token_ids, torch.tensor([0, 6]), 2)
    assert len(ids) == len(titles) == 16
    assert ids[5:].tolist() == [[5, 6]] * 11
    assert titles.tolist() == [0] * 16


@pytest.mark.parametrize("length", [1, 2, 4])
def test_windows_in_training_are_the_same(length):
    titles = TITLES.padded(4)
    expected = windows(titles.token_ids, titles.offsets, length)
    for found, wanted in zip(
        train_windows(titles.token_ids, titles.offsets, length), expected, strict=True
    ):
        assert torch.equal(found, wanted)


def test_words_are_numbered_once_for_each_position_and_padding_never():
    ids = torch.tensor([[3, 5], [5, 3], [3, 5], [0, 0], [3, 7]], dtype=torch.int32).numpy()
    words, sizes, places = kernels.number_by_position(ids, 8)
    assert words.tolist() == [3, 5, 5, 3, 7]
    assert sizes.tolist() == [2, 3]
    assert places.tolist() == [[0, 2], [1, 3], [0, 2], [-1, -1], [0, 4]]


def made_titles(
    num_titles: int, min_length: int, *, num_rows: int = NUM_ROWS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Titles of 0 to 8 words, filled up with padding."""
    generator = torch.Generator().manual_seed(num_titles)
    offsets = torch.zeros(num_titles + 1, dtype=torch.int64)
    torch.cumsum(torch.randint(0, 9, (num_titles,), generator=generator), 0, out=offsets[1:])
    ids = torch.randint(1, num_rows, (int(offsets[-1]),), generator=generator).int()
    return pad_titles(ids, offsets, min_length)


def made_filters(length: int, *, num_rows: int = NUM_ROWS) -> tuple[nn.Linear, torch.Tensor]:
    """A layer of filters, and rows of which the first is zero."""
    torch.manual_seed(length)
    rows = torch.randn(num_rows, DIM)
    rows[0] = 0
    return linear_layer(length * DIM, NUM_FILTERS), rows


def one_by_one(layer, rows, token_ids, offsets, length):
    """The greatest answers, window after window, through autograd."""
    best = []
    for start, stop in itertools.pairwise(offsets.tolist()):
        title = token_ids[start:stop].tolist()
        num_words = len(title) - title.count(0)
        ids = [title[t : t + length] for t in range(max(num_words - length, 0) + 1)]
        best.append(torch.stack([layer(rows[i].flatten()) for i in ids]).amax(0))
    return torch.stack(best)


@pytest.mark.parametrize("length", [1, 3, 5])
@pytest.mark.parametrize("num_titles", [1, FEWEST_TITLES_TO_SHARE, 70])
def test_the_greatest_answers_are_those_of_a_loop_over_the_windows(length, num_titles):
    (layer, rows), titles = made_filters(length), made_titles(num_titles, 5)
    with torch.inference_mode():
        found = greatest_answers(layer, rows, *titles, length)
    torch.testing.assert_close(found, one_by_one(layer, rows, *titles, length))


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("length", [1, 3, 5])
@pytest.mark.parametrize("num_rows", [NUM_ROWS, 2000])  # of which titles share many, and few
@pytest.mark.parametrize("frozen", [False, True])
def test_in_training_so_are_they_and_their_gradients(length, num_rows, frozen):
    layer, rows = made_filters(length, num_rows=num_rows)
    titles = made_titles(40, 5, num_rows=num_rows)
    leaf = rows.clone().requires_grad_()
    expected = one_by_one(layer, leaf, *titles, length)
    gradient = torch.randn(expected.shape)
    expected.backward(gradient)
    weight_gradient, expected = layer.weight.grad, expected.detach()

    trained = DenseWeights(layer, dtype=torch.float32, weight_decay=0).of(layer)
    with torch.inference_mode():
        best, backward = train_greatest_answers(trained, rows, *titles, length, frozen=frozen)
        torch.testing.assert_close(best + trained.bias, expected)
        row_gradient = backward(gradient)
    torch.testing.assert_close(trained.weight_gradient, weight_gradient)
    if not frozen:
        leaf.grad[0] = 0  # the padding is not trained
        torch.testing.assert_close(row_gradient, leaf.grad)


@pytest.mark.usefixtures("loops")
def test_a_batch_of_empty_titles_answers_nothing_and_trains_nothing():
    layer, rows = made_filters(3)
    titles = torch.zeros(12, dtype=torch.int32), torch.arange(0, 13, 3)
    trained = DenseWeights(layer, dtype=torch.float32, weight_decay=0).of(layer)
    trained.weight_gradient.fill_(1)
    with torch.inference_mode():
        best, backward = train_greatest_answers(trained, rows, *titles, 3, frozen=False)
        assert not best.any()
        assert not backward(torch.ones_like(best)).any()
    assert not trained.weight_gradient.any()
