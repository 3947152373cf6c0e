"""A search whose training hangs in a call that nothing in Python can end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parent.parent.parent
# Each file in the folder is a training that hangs, once.
HANGING = """
import sys, time
from pathlib import Path
from models.training import Trainer
run = Trainer.run
def hang_or_run(self):
    for hang in sorted(Path("hangs").iterdir())[:1]:
        hang.unlink()
        time.sleep(10_000)
    yield from run(self)
Trainer.run = hang_or_run
import studies
sys.exit(studies.main(sys.argv[1:]))
"""


@pytest.fixture
def search(small, tmp_path):
    def run(hangs):
        (tmp_path / "hangs").mkdir()
        for number in range(hangs):
            (tmp_path / "hangs" / str(number)).touch()
        options = ["--trials", "4", "--hang-timeout", "6s", "--json", *map(str, small)]
        return subprocess.run(
            [sys.executable, "-c", HANGING, *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def attempts(folder):
    storage = f"sqlite:///{folder / 'runs' / 'optuna.db'}"
    return optuna.load_study(study_name="mlp-titles", storage=storage).get_trials()


def test_a_search_alone_starts_again_after_a_hang_and_meets_its_budget(search, tmp_path):
    done = search(hangs=2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the search starts again") == 2
    assert "Traceback" not in done.stderr
    found = attempts(tmp_path)
    failed = [trial for trial in found if trial.state == TrialState.FAIL]
    assert len(failed) == 2
    assert all("no evaluation for" in trial.user_attrs["fail_reason"] for trial in failed)
    assert sum(trial.value is not None for trial in found) == 4
    heard = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert heard.count("study_started") == 3


def test_a_search_that_hangs_again_and_again_ends_with_one_line(search, tmp_path):
    done = search(hangs=9)
    assert done.returncode == 75
    assert done.stderr.count("the search starts again") == 3
    assert done.stderr.splitlines()[-1].startswith("error: trial ")
    assert TrialState.RUNNING not in {trial.state for trial in attempts(tmp_path)}
