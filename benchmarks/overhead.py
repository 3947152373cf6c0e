"""What the service adds to a trial, and how long a command takes to its first training step.

    python -m benchmarks.overhead [--json FILE] [--markdown FILE] [--quick]

A worker runs trials of a study that already has 0, 1,000 or 10,000 of them, on SQLite and on
PostgreSQL, with TPE, ASHA and tracking as by default. After each trial the bare training loop
trains the same configuration for as many evaluations; the difference is what the service added:
taking the trial, sampling, reporting, asking the pruner, writing MLflow's events, ending it. The
trials are short (few titles), so that the difference is not lost in the noise of training; it
does not depend on their length, except for two parts. Checkpoints are timed apart, on the network
that writes the largest ones, and counted as often as a trial of 10 s saves; so is one heartbeat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks import processes
from benchmarks.command import Report, options, verdict
from benchmarks.filled import fill
from benchmarks.pairs import Pairs
from benchmarks.parts import timed_parts
from benchmarks.postgres import running_server
from benchmarks.report import Spread
from data_utils import DataSpec
from search.checkpoints import CheckpointStore
from search.display.progress import Progress
from search.folders import OutputFolder
from search.inputs import Inputs, TrainingData, load_inputs, prepare_training
from search.settings import StudySettings
from search.spaces import DEFAULT_EPOCHS, SEARCH_SPACES, SPACE_VERSIONS, good_starts
from search.storage.budget import set_budget
from search.storage.heartbeat import Pulse
from search.storage.opening import open_storage
from search.strategies import PRUNERS
from search.study import open_study, task_of
from search.tracking.client import default_tracking_uri
from search.workers.local import work

MODEL = "mlp"
TRIAL_SECONDS = 10.0
TARGET_PERCENT = 2.0
TARGET_START_SECONDS = 5.0
FEW_TITLES = 3_000
# The first trial reads the study, and beside the next ones MLflow is starting, on another core.
WARM_UP = 8


def settings_of(inputs: Inputs, pruner: str) -> StudySettings:
    """A study as ``studies.py`` would make it."""
    return StudySettings(
        model=MODEL,
        data={},
        data_name=inputs.prepared.name,
        data_fingerprint=inputs.prepared.fingerprint,
        vectors=None,
        embedding_dim=inputs.vectors.matrix.shape[1],
        vectors_fingerprint=inputs.vectors.fingerprint,
        max_epochs=DEFAULT_EPOCHS[MODEL],
        seed=0,
        sampler="tpe",
        pruner=pruner,
        space=SPACE_VERSIONS[MODEL],
    )


def measure(
    url: str, inputs: Inputs, *, existing: int, repeats: int, cache: Path, pruner: str
) -> dict[str, Any]:
    """Milliseconds that the service adds to a trial of a study with ``existing`` trials."""
    settings = settings_of(inputs, pruner)
    task = task_of(settings, inputs.prepared)
    storage = open_storage(url)
    study = open_study(storage, f"overhead-{existing}", settings, n_trials=0)
    fill(url, study._study_id, task, MODEL, existing)
    # An empty study prunes its own first trials: some more, of which the whole ones count.
    n_trials = WARM_UP + repeats * (1 if existing else 3)
    set_budget(storage, study._study_id, n_trials=existing + n_trials)
    device = torch.device("cpu")
    pairs = Pairs(MODEL, TrainingData(inputs, cache_folder=cache, device=device), task)
    with tempfile.TemporaryDirectory() as scratch, timed_parts() as parts:
        folder = OutputFolder(Path(scratch))
        uri = default_tracking_uri(folder.root)
        work(
            study,
            storage,
            settings,
            Inputs(inputs.prepared, inputs.vectors),
            folder=_with_cache(folder, cache),
            tracking_uri=uri,
            device=device,
            progress=pairs,
        )
    pairs_found = pairs.found[WARM_UP:]
    # Where none but the first ran to its end, those that were pruned have to do.
    whole = [pair for pair in pairs_found if pair.steps == task.max_steps][:repeats]
    counted = whole or pairs_found
    pulse = Pulse(storage, study._study_id, max_failures=3)
    beats = [_milliseconds(pulse.reap) for _ in range(10)]
    storage.close()
    return {
        "trials": len(counted),
        "evaluations": statistics.median(pair.steps for pair in counted),
        "added_ms": vars(Spread.of([1e3 * pair.added for pair in counted])),
        "added_cpu_ms": statistics.median(1e3 * pair.added_cpu for pair in counted),
        "bare_ms": statistics.median(1e3 * pair.bare for pair in counted),
        "first_trial_ms": 1e3 * pairs.found[0].added,
        "parts_ms": {name: 1e3 * s / len(pairs.found) for name, s in parts.seconds.items()},
        "heartbeat_ms": statistics.median(beats),
    }


def _with_cache(folder: OutputFolder, cache: Path) -> OutputFolder:
    folder.cache.symlink_to(cache.resolve())
    return folder


def _milliseconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def measure_checkpoints(inputs: Inputs, *, cache: Path) -> dict[str, float]:
    """What the checkpoints of a good start, with unfrozen word vectors, cost a trial of 10 s."""
    task = task_of(settings_of(inputs, "none"), inputs.prepared)
    trial = optuna.trial.FixedTrial(good_starts(MODEL, task.max_epochs)[0])
    data = TrainingData(inputs, cache_folder=cache, device=torch.device("cpu"))
    trainer = data.trainer(SEARCH_SPACES[MODEL](trial, task))
    next(trainer.run())
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        used = {"data": inputs.prepared.fingerprint, "vectors": inputs.vectors.fingerprint}
        store, fresh = (
            CheckpointStore(Path(folder), key, fingerprints=used) for key in ("used", "fresh")
        )
        save = partial(store.save, 0, configuration="start")
        saves = [
            _milliseconds(lambda step=step: save(trainer.state_dict(), step))
            for step in range(1, 6)
        ]
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.pt"))
        # Of a worker's first trial, which judges by a disk that it has not seen yet, too.
        count = max(_saves(one, trainer.state_dict()) for one in (store, fresh))
    return {"save_ms": statistics.median(saves), "megabytes": size / 1e6, "saves": count}


def _saves(store: CheckpointStore, state: dict[str, Any]) -> int:
    """How often a trial of 10 s saves ``state``, with four evaluations a second."""
    count, unsaved = 0, 0.0
    for _ in range(int(4 * TRIAL_SECONDS)):
        unsaved += 0.25
        if store.is_worth(state, unsaved):
            count, unsaved = count + 1, 0.0
    return count


def time_to_first_step(data: str, out: Path, *, repeats: int) -> dict[str, Any]:
    """Seconds from the command to the first trial's training and to its first evaluation."""
    found: dict[str, list[float]] = {"training": [], "evaluated": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            _with_cache(OutputFolder(Path(scratch)), out / "cache")
            command = [sys.executable, "studies.py", "--data", data, "--out", scratch, "--json"]
            ran = processes.run(command, stop_at=lambda line: '"event": "evaluated"' in line)
            at = {json.loads(line)["event"]: seconds for seconds, line in reversed(ran.lines)}
        found["training"].append(at["trial_started"])
        found["evaluated"].append(at["evaluated"])
    return {name: vars(Spread.of(values)) for name, values in found.items()}


def main() -> None:
    """Measure every storage and size, print the tables, write the files."""
    parser = options(__doc__, quick="5 trials each, no 10,000 trials")
    parser.add_argument("--data", default="sat", help="as for studies.py")
    parser.add_argument("--pruner", default="asha", choices=list(PRUNERS))
    arguments = parser.parse_args()
    prepare_training()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    repeats, sizes = (5, (0, 1_000)) if arguments.quick else (15, (0, 1_000, 10_000))
    cache = OutputFolder(arguments.out).cache
    few = DataSpec(source=arguments.data, sample=FEW_TITLES, min_rows=5)
    inputs = load_inputs(few, None, None, cache_folder=cache, progress=Progress())
    spec = DataSpec(source=arguments.data)
    largest = load_inputs(spec, None, None, cache_folder=cache, progress=Progress())
    report = Report()
    checkpoints = measure_checkpoints(largest, cache=cache)
    report.content["checkpoints"] = checkpoints
    saving = checkpoints["save_ms"] * checkpoints["saves"]
    report.add(
        f"A checkpoint of {checkpoints['megabytes']:.0f} MB takes "
        f"{checkpoints['save_ms']:.0f} ms; a trial of {TRIAL_SECONDS:g} s saves "
        f"{checkpoints['saves']}: {saving:.0f} ms."
    )
    _storages(report, arguments, inputs, sizes=sizes, repeats=repeats, saving=saving)
    start = time_to_first_step(arguments.data, arguments.out, repeats=2 if arguments.quick else 5)
    report.content["start_seconds"] = start
    seconds = {name: Spread(**spread).text(1) for name, spread in start.items()}
    report.add(
        f"From the command to the first training step {seconds['training']} s, "
        f"to the first evaluation {seconds['evaluated']} s."
    )
    median = start["training"]["median"]
    target = f"first training step within {TARGET_START_SECONDS:g} s"
    report.add(verdict(target, median <= TARGET_START_SECONDS, f"{median:.1f} s"))
    report.write(arguments)


def _storages(
    report: Report,
    arguments: argparse.Namespace,
    inputs: Inputs,
    *,
    sizes: tuple[int, ...],
    repeats: int,
    saving: float,
) -> None:
    rows, verdicts = [], []
    cache = OutputFolder(arguments.out).cache
    with tempfile.TemporaryDirectory() as folder, running_server() as new_database:
        for storage in ("sqlite", "postgres"):
            if storage == "postgres" and new_database is None:
                verdicts.append("skipped: postgres, no server programs in /usr/lib/postgresql")
                continue
            for existing in sizes:
                url = f"sqlite:///{folder}/{existing}.db"
                if storage == "postgres" and new_database is not None:
                    url = new_database()
                found = measure(
                    url,
                    inputs,
                    existing=existing,
                    repeats=repeats,
                    cache=cache,
                    pruner=arguments.pruner,
                )
                report.content.setdefault(storage, {})[str(existing)] = found
                total = found["added_ms"]["median"] + found["heartbeat_ms"] + saving
                found["percent_of_10s"] = total / TRIAL_SECONDS / 10
                found["percent_without_checkpoints"] = (total - saving) / TRIAL_SECONDS / 10
                rows.append(_row(storage, existing, found))
                print(" ".join(rows[-1]), flush=True)
                if existing == 1_000:
                    percent = found["percent_of_10s"]
                    target = f"at most {TARGET_PERCENT:g} % of 10 s at 1,000 trials on {storage}"
                    verdicts.append(
                        verdict(
                            target,
                            percent <= TARGET_PERCENT,
                            f"{percent:.1f} %, without checkpoints "
                            f"{found['percent_without_checkpoints']:.1f} %",
                        )
                    )
    header = ["storage", "trials there", "evaluations", "added ms", "CPU ms", "% of 10 s"]
    header += ["without checkpoints", "heartbeat ms", "ms per trial in"]
    report.table("What the service adds to a trial", header, rows)
    report.add("\n".join(verdicts))


def _row(storage: str, existing: int, found: dict[str, Any]) -> list[str]:
    parts = ", ".join(f"{name} {value:.0f}" for name, value in found["parts_ms"].items())
    return [
        storage,
        f"{existing:,}",
        f"{found['evaluations']:.0f}",
        Spread(**found["added_ms"]).text(),
        f"{found['added_cpu_ms']:.0f}",
        f"{found['percent_of_10s']:.1f}",
        f"{found['percent_without_checkpoints']:.1f}",
        f"{found['heartbeat_ms']:.0f}",
        parts,
    ]


if __name__ == "__main__":
    main()
