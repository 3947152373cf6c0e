import numpy as np
import pytest

from data_utils.hashing import mix
from data_utils.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    divide_large_groups,
    large_groups,
    split_rows,
)


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


def _divided(labels, groups, titles, seed=0):
    """Before and after, and which rows were of a large group."""
    labels = np.array(labels, dtype=np.int32)
    groups, titles = np.array(groups, dtype=np.uint64), np.array(titles, dtype=np.uint64)
    num_classes = int(labels.max()) + 1
    before = split_rows(labels, groups, num_classes=num_classes, seed=seed)
    is_large = large_groups(labels, groups, num_classes=num_classes)
    after = divide_large_groups(before, labels, groups, is_large, titles=titles, seed=seed)
    return before, after, is_large


def test_a_group_that_is_most_of_its_category_is_divided_by_its_titles():
    labels = [0] * 100 + [1] * 50
    groups = [0] * 90 + list(range(1, 61))
    before, after, is_large = _divided(labels, groups, range(150))
    assert np.flatnonzero(is_large).tolist() == list(range(90))
    assert set(before[:90]) == {TRAIN}
    assert np.bincount(after[:100]).tolist() == [80, 10, 10]
    assert (before[90:] == after[90:]).all()


def test_a_group_of_one_title_is_not_divided():
    before, after, is_large = _divided([0] * 60 + [1] * 20, [0] * 60 + list(range(20)), [7] * 80)
    assert is_large[:60].all() and (before == after).all()


def test_equal_titles_of_a_divided_group_stay_together_and_where_another_category_has_them():
    labels = [0] * 60 + [1] * 40
    groups = [5] * 60 + [5] * 10 + list(range(10, 40))
    titles = [index // 3 for index in range(60)] + [0] * 10 + list(range(100, 130))
    before, after, _ = _divided(labels, groups, titles)
    assert (before[60:] == after[60:]).all()
    assert (after[:3] == before[0]).all()  # the title that both have
    for start in range(0, 60, 3):
        assert len(set(after[start : start + 3])) == 1
    assert set(after[:60]) == {TRAIN, VALIDATION, TEST}


@pytest.mark.parametrize("seed", range(30))
def test_no_split_changes_without_a_group_that_is_most_of_its_category(seed):
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 12, 400)).astype(np.int32)
    groups = rng.integers(0, int(rng.integers(30, 400)), 400).astype(np.uint64)
    sizes = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
    most = {
        int(label)
        for (label, _), count in zip(sizes[0].T, sizes[1], strict=True)
        if 2 * count > (labels == label).sum() and count > 1
    }
    _, labels = np.unique(labels, return_inverse=True)
    before, after, is_large = _divided(labels, groups, rng.integers(0, 300, 400), seed)
    assert not most and not is_large.any()
    assert (before == after).all()


def test_large_groups_are_those_of_more_than_half_of_the_rows():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = rng.integers(0, 4, 40)
        groups = rng.integers(0, 3, 40)
        expected = [
            2 * ((labels == k) & (groups == g)).sum() > (labels == k).sum()
            and ((labels == k) & (groups == g)).sum() > 1
            for k, g in zip(labels, groups, strict=True)
        ]
        found = large_groups(labels.astype(np.int32), groups.astype(np.uint64), num_classes=4)
        assert found.tolist() == expected
