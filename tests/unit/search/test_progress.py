"""What is shown of a search, and where."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from search.display.live import LiveProgress
from search.display.progress import JsonProgress, PlainProgress, Progress, clock

PARAMS = {
    "num_layers": 3,
    "hidden_size_0": 512,
    "learning_rate": 0.00123456,
    "freeze_embeddings": False,
    "class_weight_power": 0.5,
    "weight_decay": 1.2e-5,
}
PROJECT = Path(__file__).resolve().parents[3]


def run_study(progress: Progress) -> None:
    """A preparation, then a trial of every end."""
    progress.preparing("reading titles", 0.0)
    progress.preparing("reading titles", 0.5)
    progress.study_started("mlp-sat", 10, complete=2, pruned=1, best=(1, 0.4, PARAMS))
    for number, state, value in [
        (3, "COMPLETE", 0.61),
        (4, "PRUNED", 0.9),
        (5, "FAIL", None),
        (6, "WAITING", None),
        (7, "COMPLETE", float("nan")),
    ]:
        progress.trial_started(number, PARAMS)
        progress.evaluated(number, 13, 32, 0.5813, epoch=3.25)
        progress.trial_finished(number, state, value, 12.34)
    progress.remark("MLflow is still being sent something")
    progress.message("MLflow is away")
    progress.closed()


def lines_of(progress_class: type[Progress]) -> list[str]:
    stream = io.StringIO()
    run_study(progress_class(stream))
    return stream.getvalue().splitlines()


def panel_of(progress: LiveProgress, *, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    progress._console.width = width
    console.print(progress.panel())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def live() -> LiveProgress:
    return LiveProgress(io.StringIO())


def test_plain_progress_is_a_line_per_finished_trial_and_one_per_piece_of_work() -> None:
    lines = lines_of(PlainProgress)

    assert [line.split(maxsplit=1)[1].split("  ")[0] for line in lines] == [
        "reading titles",
        "study mlp-sat: 3 of 10 trials done, best 0.4000 (trial 1)",
        "trial 3",
        "trial 4",
        "trial 5",
        "trial 6",
        "trial 7",
        "MLflow is still being sent something",
        "MLflow is away",
    ]


def test_a_finished_trial_tells_state_value_seconds_and_the_budget() -> None:
    (line,) = [line for line in lines_of(PlainProgress) if "trial 3 " in line]
    assert line.split() == "0:00 trial 3 COMPLETE 0.6100 12.3 s 4 of 10 best so far".split()


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_no_trial_but_a_complete_one_with_a_higher_number_is_the_best(number: int) -> None:
    (line,) = [line for line in lines_of(PlainProgress) if f"trial {number} " in line]
    assert "best so far" not in line


def test_a_failed_or_waiting_trial_does_not_use_up_the_budget() -> None:
    progress = Progress(io.StringIO())
    run_study(progress)
    assert (progress.view.done, progress.view.failed, progress.view.running) == (6, 1, {})


def test_a_trial_that_the_study_has_counted_is_not_counted_again() -> None:
    """Other workers' trials are in the study's counts, and this one's may be, too."""
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.study_started("mlp-sat", 10)
    progress.trial_started(7, PARAMS)
    progress.study_state(complete=3, pruned=2, failed=0, workers=2, best=(7, 0.8, PARAMS))
    progress.trial_finished(7, "COMPLETE", 0.8, 1.0, counted=True)
    assert stream.getvalue().splitlines()[-1].endswith("5 of 10  best so far")


def test_the_last_json_event_sums_the_study_up() -> None:
    last = json.loads(lines_of(JsonProgress)[-1])
    del last["time"]
    assert last == {
        "event": "closed",
        "n_trials": 10,
        "complete": 4,
        "pruned": 2,
        "failed": 1,
        "best": [3, 0.61, PARAMS],
    }


def test_quiet_shows_messages_alone() -> None:
    assert lines_of(Progress) == ["MLflow is away"]


def test_json_progress_is_one_object_per_event_without_nan() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    events = [json.loads(line, parse_constant=refuse) for line in lines_of(JsonProgress)]

    assert [event["event"] for event in events[:5]] == [
        "preparing",
        "preparing",
        "study_started",
        "trial_started",
        "evaluated",
    ]
    assert events[3]["params"] == PARAMS
    assert events[-4]["value"] is None and events[-4]["state"] == "COMPLETE"
    assert events[-1]["event"] == "closed"


def test_the_panel_shows_budget_states_running_trial_best_and_time() -> None:
    progress = live()
    progress.study_started("mlp-sat", 10, complete=2, pruned=1, failed=1, best=(1, 0.4, PARAMS))
    progress.study_state(complete=3, pruned=1, failed=1, workers=4)
    progress.trial_started(5, PARAMS)
    progress.evaluated(5, 13, 32, 0.5813, epoch=3.25)
    text = "\n".join(panel_of(progress))
    progress.closed()

    for part in (
        "mlp-sat",
        "4 of 10",
        "3 complete   1 pruned   1 failed   4 workers",
        "epoch 3.25 of 8   0.5813",
        "0.4000  trial 1",
        "learning_rate=0.00123",
        "0:00 so far",
    ):
        assert part in text


@pytest.mark.parametrize("width", [80, 40])
def test_the_panel_fits_the_terminal(width: int) -> None:
    progress = live()
    progress.study_started("a study with a name that is as long as names can be" * 3, 5000)
    progress.trial_started(4999, {**PARAMS, "filter_lengths": "2-3-4-5" * 30})
    progress.evaluated(4999, 1, 32, 0.5)
    progress.trial_finished(4999, "COMPLETE", 0.5)
    progress.trial_started(5000, PARAMS)
    progress.evaluated(5000, 1, 32, 0.5, epoch=0.25)
    lines = panel_of(progress, width=width)
    progress.closed()
    assert max(map(len, lines)) <= width


def test_before_the_study_the_panel_shows_what_is_prepared() -> None:
    progress = live()
    progress.preparing("training word vectors", 0.5)
    text = "\n".join(panel_of(progress))
    progress.closed()
    assert "training word vectors" in text and "━" in text


def test_time_left_follows_the_pace_and_ends_with_the_timeout() -> None:
    progress = Progress(io.StringIO())
    progress.study_started("s", 10, complete=2, timeout_seconds=500)
    view = progress.view
    assert view.left_seconds() == pytest.approx(500, abs=1)
    progress.study_state(complete=6, pruned=0, failed=0, workers=2)
    assert view.started_at is not None
    view.started_at -= 40
    assert view.left_seconds() == pytest.approx(40, abs=1)
    view.ends_at = view.started_at + 45
    assert view.left_seconds() == pytest.approx(5, abs=1)


def test_events_from_threads_while_the_display_is_drawn_do_not_block_each_other() -> None:
    progress = live()
    progress.study_started("s", 10_000)

    def trials(first: int) -> None:
        for number in range(first, first + 20):
            progress.trial_started(number, PARAMS)
            progress.evaluated(number, 1, 2, 0.1)
            progress.trial_finished(number, "COMPLETE", 0.1)

    threads = [threading.Thread(target=trials, args=(k * 1000,), daemon=True) for k in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        progress._live.refresh()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    progress.closed()
    assert progress.view.complete == 80


def test_a_reader_that_goes_away_does_not_stop_the_search() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        progress = PlainProgress(stream)
        os.close(read_end)
        progress.message("nobody reads this")
        progress.message("nor this")
        # What could not be written stays in the buffer, and closing would fail on it.
        assert not progress._is_read
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), write_end)


def test_clock_counts_hours_only_when_there_are_some() -> None:
    assert [clock(s) for s in (0, 59.9, 61, 3600, 36_061)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]


def shown_in_terminal(**environment: str) -> str:
    """What a study writes to standard error when that is a terminal."""
    code = (
        "from search.display.progress import make_progress\n"
        "with make_progress() as progress:\n"
        "    progress.study_started('mlp-sat', 2)\n"
        "    progress.trial_started(0, {'dropout': 0.5})\n"
        "    progress.trial_finished(0, 'COMPLETE', 0.5)\n"
    )
    main, terminal = pty.openpty()
    unset = {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    env = {k: v for k, v in os.environ.items() if k not in unset}
    subprocess.run(
        [sys.executable, "-c", code],
        stderr=terminal,
        env={**env, "PYTHONPATH": str(PROJECT), "COLUMNS": "80", **environment},
        check=True,
        timeout=60,
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:  # Linux's way to say that the terminal's other side is closed
        pass
    os.close(main)
    return shown.decode()


def test_a_terminal_gets_the_live_display_with_its_cursor_back_at_the_end() -> None:
    shown = shown_in_terminal(TERM="xterm-256color")
    assert "1 of 2" in shown and "\x1b[32mCOMPLETE" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_no_color_is_honoured() -> None:
    shown = shown_in_terminal(TERM="xterm-256color", NO_COLOR="1")
    assert "COMPLETE" in shown and "\x1b[32m" not in shown


def test_a_dumb_terminal_gets_plain_lines() -> None:
    shown = shown_in_terminal(TERM="dumb")
    assert "COMPLETE" in shown and "\x1b" not in shown


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("search.display.silence.MOST_SECONDS", 0.05)
    monkeypatch.setattr("search.display.silence._LOOK_SECONDS", 0.01)


def lines_until(stream, text, *, seconds=20.0):
    until = time.monotonic() + seconds
    while text not in stream.getvalue():
        assert time.monotonic() < until, stream.getvalue()
        time.sleep(0.01)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [PlainProgress, JsonProgress])
def test_long_work_is_not_silent(impatient, kind):
    stream = io.StringIO()
    with kind(stream) as progress:
        progress.preparing("splitting and writing")
        lines_until(stream, "still: splitting and writing")
        progress.study_started("s", 3)
        progress.trial_started(7, {})
        lines_until(stream, "still: trial 7 trains to its first evaluation")
        progress.evaluated(7, 2, 8, 0.5)
        lines_until(stream, "still: trial 7 at step 2 of 8, 0.5000")
        progress.trial_started(8, {})
        lines_until(stream, "still: 2 trials run")
        progress.trial_finished(7, "COMPLETE", 0.5)
        progress.trial_finished(8, "COMPLETE", 0.5)
        progress.remark("training trial 7 to export it")
        lines_until(stream, "still: training trial 7 to export it")
        for _ in range(3):  # what speaks by itself needs no such line
            progress.message("x")
    told = stream.getvalue()
    time.sleep(0.2)
    assert stream.getvalue() == told  # nothing comes after the end


def test_that_a_process_is_alive_says_nothing_of_its_work(impatient):
    stream = io.StringIO()
    with JsonProgress(stream) as progress:
        progress.preparing("reading")
        until = time.monotonic() + 20
        while "still: reading" not in stream.getvalue() and time.monotonic() < until:
            progress.alive()
            time.sleep(0.005)
    assert "still: reading" in stream.getvalue()


def test_quiet_and_live_displays_add_no_lines(impatient):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.preparing("reading")
        time.sleep(0.2)
    assert stream.getvalue() == ""
    assert not LiveProgress.BREAKS_SILENCE
