"""Two studies of one name in two databases, one of them a copy, under one output folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

import studies
from search.storage.opening import open_database
from search.study import KEY_ATTR, ORIGIN_KEY_ATTR

ROOT = Path(__file__).resolve().parents[2]
NAME = "shop"
COMMON = "hidden_sizes=none freeze_embeddings=no pooling=mean batch_size=128 weight_decay=1e-5"
COMMON += " class_weight_power=0 logit_adjustment=0"
FIRST = f"{COMMON} dropout=0.3 learning_rate=0.005"
SECOND = f"{COMMON} dropout=0.1 learning_rate=0.01"
RUNNING = (
    "SELECT coalesce(sum(state = 'COMPLETE'), 0), (SELECT coalesce(max(step), 0) FROM"
    " trial_intermediate_values JOIN trials USING (trial_id) WHERE state = 'RUNNING') FROM trials"
)


class Place:
    """A database with its study; searches of it are processes."""

    def __init__(self, folder, name, out):
        self.file, self.table, self.out = folder / f"{name}.db", folder / "titles.csv", out
        self.processes = []

    @property
    def url(self):
        return f"sqlite:///{self.file}"

    def start(self, trials):
        options = ["--data", self.table, "--dim", 16, "--epochs", 60, "--pruner", "none"]
        return self._process(*options, "--study", NAME, "--trials", trials, "--quiet")

    def run(self, trials):
        self._end(self.start(trials), 0)

    def interrupt(self, trials, *, complete, step):
        """Ctrl-C in the trial after so many complete ones, once it has reported so many steps."""
        process = self.start(trials)
        until = time.monotonic() + 300
        while self._progress() < (complete, step):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self._end(process, 130)

    def command(self, *words):
        place = ["--study", NAME, "--storage", self.url]
        assert studies.main([*map(str, words), *place]) == 0

    def enqueue(self, texts):
        self.command("enqueue", *(word for text in texts.split() for word in ("--set", text)))

    def study(self):
        with contextlib.closing(open_database(self.url)) as storage:
            study = optuna.load_study(study_name=NAME, storage=storage)
            return study.user_attrs, study.get_trials()

    def curves(self):
        """Configuration -> value and evaluations of the COMPLETE trial."""
        _, trials = self.study()
        return {
            json.dumps(trial.params, sort_keys=True): (trial.value, trial.intermediate_values)
            for trial in trials
            if trial.state.name == "COMPLETE"
        }

    def _progress(self):
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
                return db.execute(RUNNING).fetchone()
        except sqlite3.OperationalError:  # it is not there yet
            return (0, 0)

    def _process(self, *words):
        words = [*words, "--storage", self.url, "--out", self.out]
        process = subprocess.Popen(
            [sys.executable, ROOT / "studies.py", *map(str, words)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def _end(self, process, status):
        output, errors = process.communicate(timeout=300)
        assert process.returncode == status, output + errors


@pytest.fixture
def places(tmp_path, write_table):
    write_table(tmp_path)
    runs = tmp_path / "runs"
    made = (
        Place(tmp_path, "original", runs),
        Place(tmp_path, "copy", runs),
        Place(tmp_path, "undisturbed", tmp_path / "other"),
    )
    yield made
    for process in (process for place in made for process in place.processes):
        process.kill()
        process.communicate()


def test_interrupted_in_turn_each_ends_with_its_own_values(places):
    original, copy, undisturbed = places
    original.interrupt(1, complete=0, step=20)
    original.command("copy", "--to", copy.url, "--out", original.out)
    original.enqueue(FIRST)
    copy.enqueue(SECOND)
    copy.interrupt(2, complete=0, step=60)  # goes on from what the original left
    original.interrupt(2, complete=1, step=20)
    copy.interrupt(2, complete=1, step=20)
    original.run(3)
    of_original = original.curves()
    original.command("delete", "--yes", "--out", original.out)
    copy.run(3)

    undisturbed.run(1)
    for texts in (FIRST, SECOND):
        undisturbed.enqueue(texts)
    undisturbed.run(4)
    alone = undisturbed.curves()
    assert len(alone) == 4
    assert len(of_original) == len(copy.curves()) == 3
    for configuration, found in [*of_original.items(), *copy.curves().items()]:
        assert found == alone[configuration]

    attributes, trials = copy.study()
    resumed = [t.user_attrs["resumed_from"] for t in trials if t.user_attrs.get("attempt", 1) > 1]
    assert len(resumed) == 3
    assert all(step >= 20 for step in resumed)
    tracked = copy.out / "tracking" / attributes[KEY_ATTR]
    study = json.loads(sorted(tracked.glob("*.jsonl"))[0].read_text().splitlines()[0])
    assert study["tags"]["origin_key"] == attributes[ORIGIN_KEY_ATTR]
    assert (copy.out / "tracking" / attributes[ORIGIN_KEY_ATTR]).is_dir()
    pages = sorted(page.name for page in (copy.out / "reports").iterdir())
    assert pages == [f"{NAME}-{attributes[KEY_ATTR]}.html", f"{NAME}.html"]
