"""When the process that feeds MLflow sends what it has read."""

from __future__ import annotations

import time

import pytest

from search.tracking.sender import EVENTS_PER_ROUND, POINTS_WAIT_SECONDS, can_wait


def event(kind: str = "evaluated", *, age: float = 0.0) -> dict[str, object]:
    return {"event": kind, "time": int((time.time() - age) * 1000)}


@pytest.mark.parametrize("count", [0, 1, EVENTS_PER_ROUND - 1])
def test_a_few_points_of_a_moment_ago_wait_for_more(count):
    assert can_wait([event()] * count)


@pytest.mark.parametrize("other", ["started", "finished", "progress"])
def test_points_go_with_the_event_behind_them(other):
    assert not can_wait([event(), event(other)])


def test_a_whole_round_an_old_point_or_a_damaged_line_do_not_wait():
    assert not can_wait([event()] * EVENTS_PER_ROUND)
    assert not can_wait([event(age=POINTS_WAIT_SECONDS + 1), event()])
    assert not can_wait([event(), None])
