"""A search that runs, steered by commands from elsewhere."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def running(small, tmp_path):
    """A search of two workers, up to its first evaluation, and what it says from then on."""
    line = [sys.executable, ROOT / "studies.py", "--trials", "500", "--workers", "2", "--json"]
    with subprocess.Popen(
        [*line, *map(str, small)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        heard = map(json.loads, process.stdout)
        next(event for event in heard if event["event"] == "evaluated")
        yield process, heard
        with contextlib.suppress(ProcessLookupError):
            process.terminate()


def trials(folder):
    storage = f"sqlite:///{folder / 'runs' / 'optuna.db'}"
    return optuna.load_study(study_name="mlp-titles", storage=storage).get_trials()


def said(heard, words):
    return next(e for e in heard if e["event"] == "message" and words in e["text"])


def test_a_search_is_paused_resumed_and_stopped_and_its_command_goes_on(
    running, command, small, tmp_path
):
    process, heard = running
    assert command("pause").stdout.startswith("study mlp-titles is paused: ")
    assert said(heard, "the study is paused")
    queued = command("enqueue", "--set", "dropout=0.6", "--set", "hidden_sizes=none")
    assert "is queued" in queued.stdout, queued.stderr
    assert command("resume").returncode == 0
    assert next(event for event in heard if event["event"] == "trial_finished")
    assert command("stop").returncode == 0
    assert said(heard, "the study was stopped")
    assert process.wait(60) == 0
    before = trials(tmp_path)
    assert not [trial for trial in before if trial.state == TrialState.RUNNING]
    assert {t.user_attrs.get("failures", 0) for t in before} == {0}
    counted = sum(trial.value is not None for trial in before)
    again = command("--trials", counted + 2, *small)
    assert again.returncode == 0, again.stderr
    assert sum(trial.value is not None for trial in trials(tmp_path)) == counted + 2


def test_what_cannot_be_done_is_said_in_one_line(command, small):
    command("--trials", 1, *small)
    for arguments, words in {
        ("pause", "--study", "nowhere"): "there is no study 'nowhere'",
        ("cancel", "--trial", "99"): "there is no trial 99",
        ("enqueue", "--set", "dropout=5"): "dropout=5 is not in the search space",
        ("enqueue",): "--set",
    }.items():
        done = command(*arguments)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and words in line
