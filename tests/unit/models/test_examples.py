from __future__ import annotations

import pytest
import torch

from models.dropout import DropoutMasks
from models.examples import Examples, pad_titles

TITLES = Examples(
    torch.tensor([5, 6, 7, 8, 9, 4], dtype=torch.int32),
    torch.tensor([0, 2, 2, 5, 6]),
    torch.tensor([0, 1, 2, 3]),
)


@pytest.mark.usefixtures("loops")
def test_gather_keeps_the_order_asked_for_with_repeats_and_empty_titles():
    batch = TITLES.gather(torch.tensor([2, 1, 0, 2]))
    assert batch.token_ids.tolist() == [7, 8, 9, 5, 6, 7, 8, 9]
    assert batch.offsets.tolist() == [0, 3, 3, 5, 8]
    assert batch.labels.tolist() == [2, 1, 0, 2]


def test_slice_is_gather_of_a_range():
    batch, expected = TITLES.slice(1, 3), TITLES.gather(torch.tensor([1, 2]))
    assert batch.token_ids.tolist() == expected.token_ids.tolist()
    assert batch.offsets.tolist() == expected.offsets.tolist()


def test_titles_are_padded_at_their_end_to_the_length_and_no_further():
    token_ids, offsets = pad_titles(TITLES.token_ids, TITLES.offsets, 3)
    assert token_ids.tolist() == [5, 6, 0, 0, 0, 0, 7, 8, 9, 4, 0, 0]
    assert offsets.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("probability", [0.1, 0.3, 0.7])
def test_dropout_keeps_the_share_and_the_mean(probability):
    masks = DropoutMasks(probability)
    masks.seed(1)
    ones = torch.ones(500, 400)
    (mask,) = masks.draw(ones, [400])
    dropped = mask.multiply(ones)
    assert float((dropped > 0).float().mean()) == pytest.approx(1 - probability, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)


def test_dropout_of_nothing_changes_nothing():
    (mask,) = DropoutMasks(0.0).draw(torch.zeros(5), [4])
    assert torch.equal(mask.multiply(torch.ones(5, 4)), torch.ones(5, 4))
