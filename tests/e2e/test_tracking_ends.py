"""What MLflow says of trials whose ends their own workers did not see."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def statuses(tmp_path):
    """The states of the runs in MLflow's database by kind, once no sender is at work."""

    def read():
        with sqlite3.connect(f"file:{tmp_path}/m.db?mode=ro", uri=True) as connection:
            return connection.execute(
                "SELECT t.value, r.status FROM runs r JOIN tags t USING (run_uuid)"
                " WHERE t.key = 'kind' ORDER BY t.value, r.status"
            ).fetchall()

    def wait(expected):
        until = time.monotonic() + 120
        while (Path(tmp_path / "m.db").exists() and read()) != expected:
            assert time.monotonic() < until, read()
            time.sleep(0.5)

    return wait


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_trial_cancelled_after_its_worker_left_ends_in_mlflow(
    command, small, tmp_path, statuses, number
):
    """Interrupted, it waits to be taken up; of a worker that was killed nobody has told."""
    options = [*small, "--out", tmp_path / "runs", "--epochs", "60", "--sampler", "random"]
    search = [
        *options,
        "--pruner",
        "none",
        "--trials",
        "1",
        "--tracking-uri",
        f"sqlite:///{tmp_path}/m.db",
    ]
    line = [sys.executable, ROOT / "studies.py", *search, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        list(map(str, line)), cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        heard = (json.loads(text)["event"] for text in process.stdout)
        assert "evaluated" in heard
        process.send_signal(number)
        process.stdout.read()
    interrupted = number == signal.SIGINT
    again = 1 if interrupted else 0  # the trial that is there to be cancelled
    cancelled = command("cancel", "--trial", again, "--out", tmp_path / "runs")
    assert cancelled.returncode == 0, cancelled.stderr
    done = command(*search)
    assert done.returncode == 0, done.stderr
    statuses([("study", "FINISHED"), ("trial", "FAILED"), ("trial", "FINISHED")])
