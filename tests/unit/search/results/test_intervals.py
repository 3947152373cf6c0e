"""95 % intervals of the test figure: they hold the truth as often as they say."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from benchmarks.intervals import measure
from search.results.intervals import intervals


@pytest.mark.parametrize(
    "recalls", ["0.9", "0.99 on average", "0.67 on average", "0 to 1", "0.1 on average"]
)
@pytest.mark.parametrize(("size", "at_most"), [(20, 1.9), (600, 1.15)])
def test_intervals_hold_the_truth_and_are_little_wider_than_they_need_be(size, at_most, recalls):
    found, _, enough = measure("1 to 90", recalls, size=size, test_sets=300, beside=False)
    assert found.coverage >= 0.93
    assert found.width <= at_most * enough


@pytest.mark.parametrize("titles", ["1", "2"])
def test_categories_with_one_title_have_an_interval_too(titles):
    found, before, enough = measure(titles, "0.67 on average", size=100, test_sets=300)
    assert found.coverage >= 0.93 > before.coverage
    assert enough <= found.width <= 1.3 * enough


def test_recalls_that_grow_with_the_titles_are_held_as_well():
    titles, recalls = "1 to 90, few of most", "more of more titles"
    found, _, _ = measure(titles, recalls, size=600, test_sets=300, beside=False)
    assert found.coverage >= 0.93


@pytest.mark.parametrize("count", [[1], [1, 1], [1, 90], [1] * 40, [3, 20, 60]])
def test_the_interval_holds_its_figure_and_ends_at_0_and_1_only_where_that_is_possible(count):
    count = np.array(count)
    for correct in (count, 0 * count, count // 2):
        for (low, high), mean in zip(
            intervals(count, correct),
            ((correct / count).mean(), correct.sum() / count.sum()),
            strict=True,
        ):
            assert 0 <= low <= mean <= high <= 1
            assert low < high
            assert (high == 1) == (mean == 1) and (low == 0) == (mean == 0)


def test_sixty_thousand_categories_take_little_memory():
    count = np.random.default_rng(0).integers(0, 90, 60_000)
    tracemalloc.start()
    (low, high), _ = intervals(count, count // 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert 0.47 < low < high < 0.5
