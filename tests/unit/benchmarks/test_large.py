"""The parts of a whole search on many titles."""

from __future__ import annotations

import pytest

from benchmarks.large import part
from benchmarks.processes import Ran


@pytest.fixture
def ran() -> Ran:
    return Ran(seconds=20.0, memory=[(1.0, 10**9), (6.0, 3 * 10**9), (15.0, 2 * 10**9)])


def test_a_part_has_the_memory_and_the_silence_within_its_bounds(ran: Ran) -> None:
    said = [(1.0, "reading"), (5.0, "pooling"), (9.0, "training"), (19.0, "done")]
    found = part("some", ran, said, (5.0, 20.0))
    assert (found.seconds, found.peak_gigabytes) == (15.0, 3.0)
    assert (found.silence_seconds, found.after) == (10.0, "training")


def test_the_time_before_the_first_line_and_after_the_last_is_silent_too(ran: Ran) -> None:
    assert part("all", ran, [(12.0, "late")], (0.0, 20.0)).silence_seconds == 12.0
    found = part("all", ran, [(2.0, "early")], (0.0, 20.0))
    assert (found.silence_seconds, found.after) == (18.0, "early")
