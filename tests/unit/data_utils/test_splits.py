import numpy as np
import pytest

from data_utils.hashing import mix
from data_utils.splits import TEST, TRAIN, VALIDATION, split_rows


def _split(labels, groups, seed=0):
    labels = np.array(labels, dtype=np.int32)
    groups = np.array(groups, dtype=np.uint64)
    return split_rows(labels, groups, num_classes=int(labels.max()) + 1, seed=seed)


def test_rows_are_split_80_10_10_in_every_category():
    parts = _split(np.repeat(np.arange(5), 200), np.arange(1000))
    for label in range(5):
        counts = np.bincount(parts[label * 200 : (label + 1) * 200])
        assert counts.tolist() == [160, 20, 20]


@pytest.mark.parametrize("size", range(3, 25))
def test_three_rows_are_enough_to_be_in_every_part(size):
    assert set(_split([0] * size + [1] * 30, range(size + 30))[:size]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(8))
def test_two_rows_go_to_train_and_one_other_part(seed):
    parts = _split([0, 0] + [1] * 30, range(32), seed)[:2].tolist()
    assert sorted(part == TRAIN for part in parts) == [False, True]


def test_the_second_of_two_rows_goes_to_either_held_out_part():
    parts = _split(np.repeat(np.arange(50), 2), range(100))
    assert {VALIDATION, TEST} < set(parts.tolist())


def test_near_duplicates_stay_on_one_side_also_across_categories():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3000, 10_000)
    parts = _split(rng.integers(0, 20, 10_000), groups)
    for part in (TRAIN, VALIDATION, TEST):
        assert not set(groups[parts == part]) & set(groups[parts != part])
    assert (parts == TRAIN).mean() == pytest.approx(0.8, abs=0.03)


def test_a_group_that_would_fill_a_held_out_part_goes_to_train():
    groups = [0] * 50 + list(range(1, 51))
    assert all(_split([0] * 100, groups, seed)[0] == TRAIN for seed in range(20))


def test_a_category_whose_groups_others_placed_still_gets_what_is_left():
    # Category 1 shares two of its groups with the smaller category 0.
    labels = [0, 0, 0, 1, 1, 1, 1, 1]
    groups = [1, 2, 3, 1, 2, 4, 5, 6]
    for seed in range(20):
        parts = _split(labels, groups, seed)
        assert set(parts[:3]) == set(parts[3:]) == {0, 1, 2}


def test_the_split_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 9, 500), mix(rng.integers(0, 400, 500).astype(np.uint64))
    order = rng.permutation(500)
    assert (_split(labels, groups)[order] == _split(labels[order], groups[order])).all()


def test_another_seed_gives_another_split():
    assert (_split([0] * 99, range(99), 0) != _split([0] * 99, range(99), 1)).any()
