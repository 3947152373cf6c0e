from __future__ import annotations

import contextlib
import csv
import io
import random
import signal
import sqlite3
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from optuna.pruners import NopPruner

from data_utils import DataSpec
from search.checkpoints import CheckpointStore
from search.display.progress import Progress
from search.inputs import TrainingData, load_inputs
from search.limits import NO_LIMITS
from search.objective import Objective
from search.objectives import ONE_OBJECTIVE
from search.options import SearchOptions
from search.settings import StudySettings
from search.spaces import SPACE_VERSIONS, grid
from search.storage.budget import set_budget
from search.storage.opening import open_storage
from search.strategies import SAMPLERS
from search.study import task_of
from search.tracking.client import Tracker
from search.workers.loop import run_worker

WORDS = {
    "KITCHEN": "olla sartén cuchillo taza plato cuchara horno mesa".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo pie led".split(),
    "SHOES": "zapato bota sandalia tacón cuero suela cordón talla".split(),
}
EVERYWHERE = "nuevo oferta original grande negro blanco calidad envío".split()


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def titles_csv(tmp_path_factory):
    """600 distinct titles of 3 categories: 480 to train on are 4 batches of 128."""
    rng = random.Random(3)
    found = {}
    while len(found) < 600:
        label = sorted(WORDS)[len(found) % 3]
        words = [rng.choice(WORDS[label]), *rng.sample(EVERYWHERE, 3)]
        found.setdefault(" ".join(rng.sample(words, 4)), label)
    path = tmp_path_factory.mktemp("titles") / "titles.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["title", "category"], *found.items()])
    return path


@pytest.fixture(scope="session")
def vectors_file(titles_csv):
    """Vectors of 8 numbers for all words but one."""
    rng = np.random.default_rng(0)
    words = [word for group in (*WORDS.values(), EVERYWHERE) for word in group][1:]
    rows = (f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=8))}" for word in words)
    path = titles_csv.with_name("words.vec")
    path.write_text(f"{len(words)} 8\n" + "\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def data_cache(titles_csv):
    return titles_csv.parent / "cache"


@pytest.fixture(scope="session")
def inputs(titles_csv, vectors_file, data_cache):
    """Real titles, prepared, and their vectors; shared by all tests, who only read them."""
    return load_inputs(
        DataSpec(source=str(titles_csv)),
        vectors_file,
        None,
        cache_folder=data_cache,
        progress=Progress(),
    )


@pytest.fixture
def settings():
    return StudySettings(
        model="mlp",
        data={"source": "titles.csv", "cleaning": {"stop_words": ["spanish"]}},
        data_name="titles",
        data_fingerprint="d1",
        vectors=None,
        embedding_dim=8,
        vectors_fingerprint="v1",
        max_epochs=3,
        seed=0,
        sampler="tpe",
        pruner="asha",
        space=SPACE_VERSIONS["mlp"],
    )


@pytest.fixture
def options(tmp_path, titles_csv):
    return SearchOptions(
        model="mlp",
        n_trials=50,
        timeout_seconds=None,
        study_name=None,
        storage_url=None,
        sampler="tpe",
        pruner="asha",
        max_epochs=None,
        seed=0,
        data=DataSpec(source=str(titles_csv)),
        vectors=None,
        embedding_dim=None,
        num_workers=1,
        device="cpu",
        out=tmp_path / "runs",
        tracking_uri=None,
        quiet=True,
        json=False,
    )


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(
        f"sqlite:///{tmp_path}/study.db", heartbeat_seconds=1, grace_seconds=3, outage_seconds=20
    )
    yield opened
    opened.close()


@pytest.fixture
def new_study(storage):
    def create(n_trials=None, name="toy", **budget):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        set_budget(storage, study._study_id, n_trials=n_trials, **budget)
        return study

    return create


@pytest.fixture
def lose_answers():
    """Let the next writing transactions be committed, then fail as if the line had been cut."""

    @contextlib.contextmanager
    def lose(storage, count):
        left = [count]
        dialect = storage.engine.dialect
        commit = dialect.do_commit

        def commit_and_fail(connection):
            writing = not getattr(storage._local, "reading", False)
            commit(connection)
            if writing and left[0] > 0:
                left[0] -= 1
                error = sqlite3.OperationalError("connection lost")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error

        dialect.do_commit = commit_and_fail
        yield
        dialect.do_commit = commit
        assert left == [0]

    return lose


class Heard(Progress):
    """Keeps what it is told; at ``stop_at`` the worker is asked to end, as by Ctrl-C, or whatever
    ``on_stop`` does."""

    def __init__(self, stop_at=None, on_stop=lambda: signal.raise_signal(signal.SIGTERM)):
        super().__init__(io.StringIO())
        self.stop_at = stop_at
        self.on_stop = on_stop
        self.steps, self.messages = [], []

    def evaluated(self, number, step, max_step, value, *, epoch=None):
        self.steps.append(step)
        if step == self.stop_at:
            self.on_stop()

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def store_of(tmp_path):
    def make(key="k1", kind=CheckpointStore, **options):
        fingerprints = {"data": "d1", "vectors": "v1"}
        return kind(tmp_path / "checkpoints", key, fingerprints=fingerprints, **options)

    return make


@pytest.fixture
def checkpoints(store_of):
    return store_of()


@pytest.fixture
def run(storage, inputs, data_cache, settings, tmp_path, checkpoints):
    """Run a study's trials with a worker; the display that heard of them."""

    def work(
        study,
        model="mlp",
        *,
        pruner=None,
        stop_at=None,
        on_stop=lambda: signal.raise_signal(signal.SIGTERM),
        checkpoints=checkpoints,
        sampler="tpe",
        seed=0,
        objectives=ONE_OBJECTIVE,
        limits=NO_LIMITS,
    ):
        heard = Heard(stop_at, on_stop)
        task = replace(task_of(replace(settings, max_epochs=2), inputs.prepared), seed=seed)
        run_worker(
            study.study_name,
            storage,
            Objective(
                model,
                task,
                TrainingData(inputs, cache_folder=data_cache, device=torch.device("cpu")),
                checkpoints=checkpoints,
                tracker=Tracker(None, study_name="toy", spool_dir=tmp_path / "spool"),
                progress=heard,
                objectives=objectives,
                limits=limits,
            ),
            make_sampler=lambda seed: SAMPLERS[sampler](seed, grid(model, 5)),
            pruner=pruner or NopPruner(),
            seed=seed,
            checkpoint_step=checkpoints.step,
        )
        return heard

    return work
