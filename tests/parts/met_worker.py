"""Real workers that a test meets at an evaluation: ``met_worker.py FOLDER``.

The process imports everything and prepares the titles once. It reads commands as JSON lines, and
answers each with a line: it runs a whole study itself, and forks a worker for each ``start``. One
that has done step k + 1 of trial k for the first time writes ``met-K`` into its folder, and waits
there for ``go-K``.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import optuna
import torch

from data_utils import DataSpec
from search.checkpoints import CheckpointStore
from search.display.progress import Progress
from search.folders import OutputFolder
from search.inputs import Inputs, load_inputs
from search.settings import StudySettings
from search.spaces import SPACE_VERSIONS, good_starts
from search.storage.budget import Verdict, set_budget
from search.storage.opening import open_storage
from search.storage.operations import StudyStorage
from search.study import load_settings, open_study
from search.workers import lookout, loop
from search.workers.attempt import Attempt
from search.workers.local import work

EPOCHS = 2
WORDS = {
    "SHOES": "zapato bota sandalia tacón cuero suela".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo".split(),
    "KITCHEN": "olla sartén cuchillo taza plato cuchara".split(),
}
EVERYWHERE = "nuevo oferta original grande negro blanco calidad envío".split()


def write_titles(path: Path) -> None:
    """750 titles, of which a fifth has a label by chance: no network gets them all right."""
    rng = random.Random(3)
    titles: dict[str, str] = {}
    while len(titles) < 750:
        label = rng.choice(sorted(WORDS))
        words = [rng.choice(WORDS[label]), *rng.sample(EVERYWHERE, 3)]
        given = rng.choice(sorted(WORDS)) if rng.random() < 0.2 else label
        titles.setdefault(" ".join(rng.sample(words, 4)), given)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["title", "category"], *titles.items()])


def configurations() -> list[dict[str, Any]]:
    """Eight, each of 8 steps."""
    start = good_starts("mlp", EPOCHS)[0] | {"batch_size": 128, "learning_rate": 0.02}
    choices = itertools.product((True, False), (0.1, 0.2, 0.3, 0.4))
    return [start | {"freeze_embeddings": f, "dropout": d} for f, d in choices]


def create(inputs: Inputs, spec: DataSpec, storage: StudyStorage, name: str) -> None:
    settings = StudySettings(
        model="mlp",
        data=dataclasses.asdict(spec),
        data_name="titles",
        data_fingerprint=inputs.prepared.fingerprint,
        vectors=None,
        embedding_dim=8,
        vectors_fingerprint=inputs.vectors.fingerprint,
        max_epochs=EPOCHS,
        seed=0,
        sampler="random",
        pruner="none",
        space=SPACE_VERSIONS["mlp"],
    )
    first = [(params, {}) for params in configurations()]
    study = open_study(storage, name, settings, n_trials=len(first), first=first)
    set_budget(storage, study._study_id, n_trials=len(first))


class Meeting:
    """Replaces what a worker calls at each evaluation, to wait there."""

    def __init__(self, folder: Path, after: str | None) -> None:
        self._folder = folder
        self._after = after
        self._number = -1
        self._report, self._save = Attempt.report, CheckpointStore.save
        meeting = self

        def report(attempt: Attempt, value: float, step: int) -> None:
            meeting._report(attempt, value, step)
            (folder / f"in-{os.getpid()}").touch()
            meeting._number = attempt.trial.number
            meeting.meet("report", attempt.root, step)

        def save(
            store: CheckpointStore, root: int, state: Any, step: int, *, configuration: str
        ) -> None:
            meeting._save(store, root, state, step, configuration=configuration)
            meeting.meet("save", root, step)

        Attempt.report, CheckpointStore.save = report, save  # type: ignore[method-assign]
        if after == "save":
            CheckpointStore.is_worth = lambda *_: True  # type: ignore[method-assign]
        # A worker looks for orders at each evaluation, however fast they come.
        lookout._LOOK_SECONDS = 0.0
        loop._WAITING.update({Verdict.WAIT: 0.05, Verdict.PAUSED: 0.05})

    def meet(self, after: str, root: int, step: int) -> None:
        if after != self._after or step != root + 1:
            return
        part = self._folder / f"part-{os.getpid()}"
        part.write_text(json.dumps({"pid": os.getpid(), "number": self._number}))
        try:
            os.link(part, self._folder / f"met-{root}")
        except FileExistsError:  # met before
            return
        while not (self._folder / f"go-{root}").exists():
            time.sleep(0.005)
        time.sleep(0.02)  # for a signal that another thread was given


def run(options: dict[str, Any], inputs: Inputs) -> None:
    storage = open_storage(options["url"], heartbeat_seconds=0.25, grace_seconds=10.0)
    study = optuna.load_study(study_name=options["study"], storage=storage)
    work(
        study,
        storage,
        load_settings(study),
        inputs,
        folder=OutputFolder(Path(options["folder"])),
        tracking_uri=None,  # type: ignore[arg-type]
        device=torch.device("cpu"),
        progress=Progress(sys.stderr),
    )
    storage.close()


def start(options: dict[str, Any], inputs: Inputs) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        errors = os.open(
            f"{options['folder']}/stderr-{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o666
        )
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        Meeting(Path(options["folder"]), options["after"])
        run(options, inputs)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(children: set[int]) -> dict[int, int]:
    """Exit codes of the workers that ended since the last call."""
    codes = {}
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.discard(child)
            codes[child] = os.waitstatus_to_exitcode(status)
    return codes


def main() -> int:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(sys.argv[1])
    write_titles(folder / "titles.csv")
    spec = DataSpec(source=str(folder / "titles.csv"))
    cache = OutputFolder(folder).cache
    inputs = load_inputs(spec, None, 8, cache_folder=cache, progress=Progress())
    children: set[int] = set()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command, options = json.loads(line)
        answer: Any = None
        if command == "create":
            storage = open_storage(options["url"])
            create(inputs, spec, storage, options["study"])
            storage.close()
            (Path(options["folder"]) / "cache").symlink_to(cache.resolve())
        elif command == "run":
            run(options, inputs)
        elif command == "start":
            answer = start(options, inputs)
            children.add(answer)
        else:
            answer = list(ended(children).items())
        print(json.dumps(answer), flush=True)
    for child in children:
        os.kill(child, 9)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
