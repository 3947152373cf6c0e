"""The fixed split of rows into train, validation and test."""

import numpy as np
from numpy.typing import NDArray

from data_utils.hashing import mix

TRAIN, VALIDATION, TEST = 0, 1, 2
_HELD_OUT_FRACTION = 0.1  # of a category's groups, for each of validation and test


def split_rows(
    labels: NDArray[np.int32], groups: NDArray[np.uint64], *, num_classes: int, seed: int
) -> NDArray[np.int8]:
    """Split rows 80/10/10 within each category, keeping each group of rows on one side.

    ``labels`` (N,) and ``groups`` (N,), hashes that near-duplicates share, of any category.
    Returns (N,) with TRAIN, VALIDATION or TEST; it depends on the set of rows, not their order.

    A category with three groups or more has some in each part, one with two has train and one
    other, one with a single group has train alone. Where categories share groups, the one with
    fewer groups chooses first, and that promise may fail for the others.
    """
    keys, group_of_row = np.unique(groups, return_inverse=True)
    pairs, num_rows = np.unique(
        labels.astype(np.int64) * len(keys) + group_of_row, return_counts=True
    )
    pair_labels, pair_groups = np.divmod(pairs, len(keys))
    bounds = np.searchsorted(pair_labels, np.arange(num_classes + 1))
    order = _shuffle(keys, seed)
    parts = np.full(len(keys), -1, dtype=np.int8)
    for label in np.argsort(np.diff(bounds), kind="stable").tolist():
        own = slice(bounds[label], bounds[label + 1])
        _split_category(parts, pair_groups[own], num_rows[own], order)
    return parts[group_of_row]


def large_groups(
    labels: NDArray[np.int32], groups: NDArray[np.uint64], *, num_classes: int
) -> NDArray[np.bool_]:
    """Which rows (N,) are of a group that is most of their category, with two rows or more."""
    order = np.lexsort((groups, labels))
    bounds = np.searchsorted(labels[order], np.arange(num_classes + 1))
    # In order, a group that has more than half of the rows has the one in the middle.
    middle = groups[order[(bounds[:-1] + bounds[1:]) // 2]]
    is_middle = groups == middle[labels]
    counts = np.bincount(labels[is_middle], minlength=num_classes)
    is_large = (2 * counts > np.diff(bounds)) & (counts > 1)
    return is_middle & is_large[labels]


def divide_large_groups(
    parts: NDArray[np.int8],
    labels: NDArray[np.int32],
    groups: NDArray[np.uint64],
    is_large: NDArray[np.bool_],
    *,
    titles: NDArray[np.uint64],
    seed: int,
) -> NDArray[np.int8]:
    """Divide the rows that ``large_groups`` found over the parts, by their titles.

    Else their categories would hardly be evaluated, or never. ``titles`` (N,) are hashes of the
    titles of all rows of those groups. Equal titles stay together, and where they are of
    several categories, in the part they have. No other row changes its part.
    """
    parts = parts.copy()
    titles = mix(titles ^ groups)
    shared = _of_several(labels, titles, np.isin(groups, groups[is_large]))
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    for label in np.unique(labels[is_large]):
        own = order[slice(*np.searchsorted(ordered, (label, label + 1)))]
        is_free = is_large[own] & ~shared[own]
        keys, group_of_row = np.unique(
            np.where(is_large[own], titles[own], groups[own]), return_inverse=True
        )
        placed = np.zeros(len(keys), dtype=np.int8)
        placed[group_of_row] = np.where(is_free, -1, parts[own])
        if (placed < 0).sum() > 1:
            _split_category(
                placed, np.arange(len(keys)), np.bincount(group_of_row), _shuffle(keys, seed)
            )
            parts[own] = placed[group_of_row]
    return parts


def _of_several(
    labels: NDArray[np.int32], titles: NDArray[np.uint64], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the rows wanted (N,) have a title that another category has, too."""
    several = np.zeros(len(labels), dtype=bool)
    keys, key_of_row = np.unique(titles[wanted], return_inverse=True)
    least = np.full(len(keys), np.iinfo(np.int32).max, dtype=np.int32)
    most = np.full(len(keys), -1, dtype=np.int32)
    np.minimum.at(least, key_of_row, labels[wanted])
    np.maximum.at(most, key_of_row, labels[wanted])
    several[wanted] = (least < most)[key_of_row]
    return several


def _shuffle(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """What to order groups by: as good as random, and the same wherever they stand."""
    return mix(keys ^ mix(np.array([seed], dtype=np.int64).view(np.uint64)))


def _split_category(
    parts: NDArray[np.int8],
    groups: NDArray[np.int64],
    num_rows: NDArray[np.int64],
    order: NDArray[np.uint64],
) -> None:
    """Give the groups of one category that no other category has placed a part."""
    placed = parts[groups]
    train, validation, test = np.bincount(placed[placed >= 0], minlength=3)[:3].tolist()
    free = placed < 0
    # Groups that would fill a held-out part alone go to train, unless there is nothing else.
    large = num_rows[free] > max(1.0, _HELD_OUT_FRACTION * num_rows.sum())
    candidates = groups[free][np.lexsort((order[groups[free]], large))]
    wanted_validation, wanted_test = _held_out(len(groups), odd=bool(order[groups].sum() & 1))
    available = len(candidates) - (train == 0)
    missing_test = max(wanted_test - test, 0)
    num_validation = min(
        max(wanted_validation - validation, 0),
        max(available - min(missing_test, 1), min(available, 1), 0),
    )
    num_test = min(missing_test, max(available - num_validation, 0))
    parts[candidates] = TRAIN
    parts[candidates[:num_validation]] = VALIDATION
    parts[candidates[num_validation : num_validation + num_test]] = TEST


def _held_out(num_groups: int, *, odd: bool) -> tuple[int, int]:
    """How many groups of a category validation and test should have."""
    if num_groups < 2:
        return 0, 0
    if num_groups == 2:
        return (1, 0) if odd else (0, 1)
    count = max(1, round(_HELD_OUT_FRACTION * num_groups))
    return count, count
