"""Commands run for measurement."""

from __future__ import annotations

import sys

import pytest

from benchmarks.processes import run


def test_lines_come_with_the_time_at_which_they_were_written() -> None:
    ran = run([sys.executable, "-c", "import time; print('a'); time.sleep(0.3); print('b')"])
    assert [line for _, line in ran.lines] == ["a", "b"]
    assert 0 < ran.lines[0][0] <= ran.lines[1][0] <= ran.seconds


def test_memory_of_children_counts() -> None:
    child = "import time; kept = b'x' * 200_000_000; time.sleep(1.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ran = run([sys.executable, "-c", parent], memory_every=0.2)
    assert ran.peak_bytes > 200_000_000
    assert [moment for moment, _ in ran.memory] == sorted(moment for moment, _ in ran.memory)
    assert ran.memory[0][1] < 200_000_000


def test_lines_of_standard_error_have_their_times_too() -> None:
    ran = run([sys.executable, "-c", "import sys; print('said', file=sys.stderr)"])
    assert [line for _, line in ran.errors] == ["said"]
    assert 0 < ran.errors[0][0] <= ran.seconds


def test_a_command_that_fails_says_so_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_a_command_is_interrupted_after_the_line_asked_for() -> None:
    endless = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
    ran = run([sys.executable, "-c", endless], stop_at=lambda line: line.startswith("ready"))
    assert ran.seconds < 600
