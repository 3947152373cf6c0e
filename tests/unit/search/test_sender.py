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


@pytest.mark.parametrize(
    "events",
    [
        [event(age=POINTS_WAIT_SECONDS + 1), event()],
        [event()] * EVENTS_PER_ROUND,
        [event(), event("finished")],
        [event("started"), event()],
        [event(), None],  # a damaged line
    ],
    ids=["the oldest", "a whole round", "an end", "a start", "damaged"],
)
def test_what_does_not_wait(events):
    assert not can_wait(events)
