"""Workers as processes: how they are started, heard, restarted and stopped.

The worker's program is replaced by a few lines, as it is the fleet that is tested: what a process
says and how it ends is real.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import threading
import time

import pytest

import search.workers.fleet
from search.display.progress import JsonProgress
from search.errors import SearchError
from search.workers.fleet import Fleet

# The fleet leaves its pipes to be closed with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO"),
]


@pytest.fixture
def heard():
    yield JsonProgress(io.StringIO())
    gc.collect()


def events(heard):
    return [json.loads(line) for line in heard.stream.getvalue().splitlines()]


@pytest.fixture
def fleet(tmp_path, monkeypatch, heard):
    """A fleet whose workers run the given lines."""

    def make(lines, num_workers=1, *, arguments=(), environment=(), devices=("cpu",)):
        program = tmp_path / "program.py"
        program.write_text("import json, os, signal, sys, time\n" + lines)
        monkeypatch.setattr(search.workers.fleet, "_STUDIES", program)
        return Fleet(
            num_workers,
            arguments=arguments,
            environment={"PLACE": str(tmp_path), **dict(environment)},
            devices=devices,
            progress=heard,
        )

    return make


def test_workers_get_the_command_their_device_and_the_environment(fleet, tmp_path):
    lines = (
        "open(os.path.join(os.environ['PLACE'], f'{os.getpid()}.json'), 'w')"
        ".write(json.dumps([sys.argv[1:], os.environ['STORAGE_URL']]))\n"
    )
    made = fleet(
        lines,
        3,
        arguments=["--study", "mine"],
        environment={"STORAGE_URL": "secret"},
        devices=["cuda:0", "cuda:1"],
    )
    assert made.run()
    said = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(arguments[-1] for arguments, _ in said) == ["cuda:0", "cuda:0", "cuda:1"]
    assert {tuple(arguments[:-1]) for arguments, _ in said} == {
        ("worker", "--study", "mine", "--device")
    }
    assert {url for _, url in said} == {"secret"}


def test_what_workers_say_of_trials_is_shown_and_nothing_else(fleet, heard):
    lines = """
for record in (
    {"event": "study_started", "name": "mine", "n_trials": 9},
    {"event": "trial_started", "time": 1, "number": 4, "params": {"dropout": 0.5}},
    {"event": "evaluated", "number": 4, "step": 1, "max_step": 8, "value": 0.25, "epoch": 0.5},
    {"event": "trial_finished", "number": 4, "state": "COMPLETE", "value": 0.25, "seconds": 1.5},
    {"event": "of a later version", "number": 4},
):
    print(json.dumps(record))
print("no JSON")
print("a warning", file=sys.stderr)
"""
    assert fleet(lines).run()
    shown = [event for event in events(heard) if event["event"] != "message"]
    assert [event["event"] for event in shown] == ["trial_started", "evaluated", "trial_finished"]
    assert shown[0]["params"] == {"dropout": 0.5}
    assert shown[1]["value"] == 0.25 and shown[1]["epoch"] == 0.5
    assert shown[2]["state"] == "COMPLETE" and shown[2]["seconds"] == 1.5
    messages = [event["text"] for event in events(heard) if event["event"] == "message"]
    assert messages == ["a warning"]


def test_whatever_else_a_worker_prints_it_is_heard_to_its_end(fleet, heard):
    """A reader that ended would leave the worker to block on a full pipe, for good."""
    lines = """
for line in (b"7", b"null", b'["event"]', b'"event"', b'{"event": ["message"]}', b"[" * 99999,
             b'{"event": "evaluated", "step": 1}', b'{"event": "trial_started", "number": 1, '
             b'"params": 7}', b'{"event": "message"}', b"caf" + bytes([0xE9])):
    os.write(1, line + b"\\n")
    os.write(2, line[:20] + b"\\n")
print("x" * 200_000)
print("x" * 200_000, file=sys.stderr)
print(json.dumps({"event": "message", "text": "still heard"}))
"""
    assert fleet(lines).run()
    assert "still heard" in [event.get("text") for event in events(heard)]


def test_a_workers_error_is_passed_on_in_its_own_words(fleet):
    with pytest.raises(SearchError, match="^the disk is full$"):
        fleet("sys.exit(print('error: the disk is full', file=sys.stderr) or 2)").run()


def test_a_worker_that_ends_without_a_word_is_named_with_its_status(fleet):
    with pytest.raises(SearchError, match="worker 0 ended with 7"):
        fleet("sys.exit(7)").run()


# The first worker to come takes the mark; what it does then is up to the test.
MARKED = """
place = os.environ["PLACE"]
def is_first():
    try:
        os.close(os.open(os.path.join(place, "first"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
def count():
    return sum(name.endswith(".died") for name in os.listdir(place))
def die():
    open(os.path.join(place, f"{os.getpid()}.died"), "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def restarts(heard):
    return [event["text"] for event in events(heard) if "restarted" in event.get("text", "")]


def test_a_worker_that_was_killed_is_started_again(fleet, heard, tmp_path):
    lines = """
if is_first():
    while not os.path.exists(os.path.join(place, "again")):
        time.sleep(0.02)
elif count() == 0:
    die()
else:
    open(os.path.join(place, "again"), "w").close()
"""
    assert fleet(MARKED + lines, 2).run()
    (line,) = restarts(heard)
    assert line.endswith("was killed (signal 9): restarted")


def test_a_worker_that_cannot_live_is_given_up_after_three_restarts(fleet, heard):
    with pytest.raises(SearchError, match="ended with -9"):
        fleet(MARKED + "die()").run()
    assert len(restarts(heard)) == 3
    assert events(heard)[-1]["text"] == "worker 0 was killed (signal 9): given up"


def test_the_others_do_the_part_of_a_worker_that_is_given_up(fleet, heard):
    lines = """
if is_first():
    while count() < 4:
        time.sleep(0.02)
else:
    die()
"""
    assert fleet(MARKED + lines, 2).run()
    assert len(restarts(heard)) == 3
    assert events(heard)[-1]["text"].endswith("was killed (signal 9): given up")


def test_a_worker_that_gets_through_trials_is_always_started_again(fleet, heard):
    lines = """
if count() < 5:
    ended = {"event": "trial_finished", "number": 1, "state": "COMPLETE", "value": 0.5}
    print(json.dumps(ended), flush=True)
    time.sleep(0.3)
    die()
"""
    assert fleet(MARKED + lines).run()
    assert len(restarts(heard)) == 5


def test_a_worker_that_ended_because_it_hung_is_started_again_with_its_words(fleet, heard):
    lines = """
if is_first():
    sys.exit(print("error: trial 4 was ended", file=sys.stderr) or 75)
"""
    assert fleet(MARKED + lines).run()
    assert restarts(heard) == ["worker 0 hung: trial 4 was ended: restarted"]


def test_a_worker_that_is_stuck_as_a_whole_is_killed_and_replaced(fleet, heard, monkeypatch):
    monkeypatch.setattr(search.workers.fleet, "_MOST_SILENT_SECONDS", 1.0)
    lines = """
print(json.dumps({"event": "alive"}), flush=True)
if is_first():
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    assert fleet(MARKED + lines).run()
    said = [event["text"] for event in events(heard)]
    assert said == ["worker 0 is stuck: killed", "worker 0 was killed (signal 9): restarted"]


@pytest.mark.parametrize("kind", ["message", "remark"])
def test_what_all_workers_say_of_the_study_is_shown_once(fleet, heard, kind):
    assert fleet(f'print(json.dumps({{"event": "{kind}", "text": "paused"}}))', 3).run()
    assert [event["text"] for event in events(heard)] == ["paused"]


def test_the_exit_status_of_a_failed_worker_is_the_searchs(fleet):
    with pytest.raises(SearchError) as caught:
        fleet("sys.exit(print('error: too many failed', file=sys.stderr) or 1)").run()
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_to_every_worker_and_handlers_given_back(fleet, tmp_path, number):
    lines = """
def stop(number, frame):
    open(os.path.join(os.environ["PLACE"], f"{os.getpid()}.stopped"), "w").close()
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
open(os.path.join(os.environ["PLACE"], f"{os.getpid()}.ready"), "w").close()
time.sleep(60)
"""

    def interrupt():
        while len([*tmp_path.glob("*.ready")]) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert fleet(lines, 2).run() is False
    thread.join()
    assert len([*tmp_path.glob("*.stopped")]) == 2
    assert signal.getsignal(number) is before


def test_what_a_worker_reads_of_the_study_is_shown(fleet, heard):
    """Trials of other machines, too, are in the counts of its storage."""
    state = {"complete": 5, "pruned": 3, "failed": 1, "workers": 4, "best": [2, 0.7, {"x": 1}]}
    fleet(f"print(json.dumps({{'event': 'study_state', **{state!r}}}))\n", 2).run()
    view = heard.view
    assert (view.complete, view.pruned, view.failed, view.workers) == (5, 3, 1, 4)
    assert (view.best_number, view.best_value, view.best_params) == (2, 0.7, {"x": 1})
