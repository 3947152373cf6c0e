"""A trial that is interrupted at any of its evaluations ends as if it had not been, to the bit.

Real signals to real workers, which train real networks: trial k of eight is met at its step k + 1.
They have the marker ``chaos``: ``make test-chaos``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.storage.budget import set_budget
from search.storage.control import pause, resume
from search.storage.opening import open_storage

ROOT = Path(__file__).parents[2]
STEPS = 8
SECONDS = 180.0
LONG = 3600.0
# What is done to a worker, or to its study, and after what of an evaluation it is met.
KINDS = {
    "kill": "report",
    "kill after its checkpoint": "save",
    "SIGTERM": "report",
    "SIGINT": "report",
    "pause": "report",
    "deadline": "report",
}
SIGNALS = {
    "kill": signal.SIGKILL,
    "kill after its checkpoint": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
}
OUTCOME = ("epochs", "best_epoch", "accuracy", "loss")


class Forge:
    """The process that has imported everything, and forks workers."""

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                str(Path(__file__).with_name("met_worker.py")),
                folder,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "ready"

    def _answer(self):
        return json.loads(self._process.stdout.readline())

    def ask(self, command, **options):
        self._process.stdin.write(json.dumps([command, options]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def forge(tmp_path_factory):
    made = Forge(tmp_path_factory.mktemp("forge"))
    yield made
    made.close()


class Study:
    """A study of eight trials, and ``count`` workers that are kept alive."""

    def __init__(self, forge, url, folder, *, count, after):
        folder.mkdir(exist_ok=True)
        self._forge, self.folder, self._count = forge, folder, count
        self._options = {"url": url, "study": "met", "folder": str(folder), "after": after}
        forge.ask("create", **self._options)
        self.storage = open_storage(url)
        self.study = optuna.load_study(study_name="met", storage=self.storage)
        self.id = self.study._study_id
        self.alive: set[int] = set()
        self.codes: dict[int, int] = {}

    def look(self):
        """Notice which workers have ended."""
        codes = dict(self._forge.ask("ended"))
        self.codes |= codes
        self.alive -= codes.keys()

    def fill_up(self):
        self.look()
        while len(self.alive) < self._count:
            self.alive.add(self._forge.ask("start", **self._options))

    def wait(self, condition):
        until = time.monotonic() + SECONDS
        while (found := condition()) is None:
            assert time.monotonic() < until, (self.trials(), self.stderr())
            time.sleep(0.03)
        return found

    def next_met(self, dealt_with):
        """The trial that a worker is met at; workers that ended by themselves are replaced."""

        def look():
            self.fill_up()
            for root in range(STEPS):
                path = self.folder / f"met-{root}"
                if root not in dealt_with and path.exists():
                    return root, json.loads(path.read_text())
            return None

        return self.wait(look)

    def go(self, root):
        (self.folder / f"go-{root}").touch()

    def finish(self):
        """Wait until the budget is used up and the workers have ended."""

        def is_over():
            self.look()
            if self.alive:
                return None
            if len(self.ended()) == STEPS:
                return True
            return self.fill_up()

        self.wait(is_over)

    def run(self):
        """Have it run by one worker that nobody disturbs."""
        self._forge.ask("run", **self._options)

    def trials(self):
        return self.study.get_trials(deepcopy=False)

    def ended(self):
        return [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]

    def stderr(self):
        return "".join(path.read_text() for path in self.folder.glob("stderr-*"))

    def outcomes(self):
        """By configuration, what it came to, but for times."""
        return {
            trial.user_attrs["root"]: (
                trial.value,
                trial.intermediate_values,
                *(trial.user_attrs[name] for name in OUTCOME),
            )
            for trial in self.ended()
        }


@pytest.fixture(scope="module")
def uninterrupted(forge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    study = Study(forge, f"sqlite:///{folder}/study.db", folder, count=1, after=None)
    study.run()
    outcomes = study.outcomes()
    assert len({value for value, *_ in outcomes.values()}) > 3, outcomes
    assert all([*curve] == [*range(1, STEPS + 1)] for _, curve, *_ in outcomes.values())
    study.storage.close()
    return outcomes


def interrupt(study, kind, root, met, signalled):
    """Do to a worker what is done, and see that it has what it was told."""
    pid, number = met["pid"], met["number"]

    def has_ended():
        study.look()
        return None if pid in study.alive else True

    def is_handed_on():
        state = study.trials()[number].state
        return None if state == TrialState.RUNNING else True

    if kind in SIGNALS:
        # Ctrl-C reaches all workers of a terminal, but each once: twice would be more.
        reached = {pid}
        if kind == "SIGINT":
            reached |= {other for other in study.alive if (study.folder / f"in-{other}").exists()}
        for other in reached - signalled:
            os.kill(other, SIGNALS[kind])
        signalled |= reached
        study.go(root)
        study.wait(has_ended)
    elif kind == "pause":
        pause(study.storage, study.id)
        study.go(root)
        study.wait(is_handed_on)
        resume(study.storage, study.id)
    else:
        set_budget(study.storage, study.id, n_trials=STEPS, timeout_seconds=0.0)
        study.go(root)
        study.wait(has_ended)
        set_budget(study.storage, study.id, n_trials=STEPS, timeout_seconds=LONG)


@pytest.mark.chaos
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_ends_as_if_it_had_not_been_interrupted_at_any_evaluation(
    forge, uninterrupted, url, tmp_path, kind, workers
):
    study = Study(forge, url, tmp_path / "out", count=workers, after=KINDS[kind])
    met, signalled = {}, set()
    while len(met) < STEPS:
        root, found = study.next_met(met)
        interrupt(study, kind, root, found, signalled)
        met[root] = found["number"]
    study.finish()
    assert study.outcomes() == uninterrupted
    trials = study.trials()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    for root, number in met.items():
        assert_interrupted(kind, root, trials[number], trials)
    if kind in SIGNALS and SIGNALS[kind] == signal.SIGKILL:
        assert sorted(study.codes.values())[:STEPS] == [-signal.SIGKILL] * STEPS
    assert set(study.codes.values()) <= {0, -signal.SIGKILL}, study.stderr()
    assert "Traceback" not in study.stderr() and "scratch" not in study.stderr()
    assert "lacks a part" not in study.stderr()  # the page of a best trial has its whole curve
    assert [path for path in (study.folder / "checkpoints").rglob("*") if path.is_file()] == []
    study.storage.close()


def assert_interrupted(kind, root, trial, trials):
    """The attempt that was met ended there, unless it had done its last step and could end."""
    step = root + 1
    assert max(trial.intermediate_values) == step
    killed = kind in SIGNALS and SIGNALS[kind] == signal.SIGKILL
    if step == STEPS and not killed:
        assert trial.state == TrialState.COMPLETE
        return
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failures"] == int(killed)
    (following,) = [t for t in trials if t.user_attrs.get("retry_of") == trial.number]
    if kind != "kill":  # which may have come before its first checkpoint
        assert following.user_attrs["resumed_from"] == step
