"""What a second worker costs on a machine: time to its first trial, memory for the data.

    python -m benchmarks.joining [--json FILE] [--markdown FILE] [--quick]

A search with one worker runs on prepared data; when its first trial has been evaluated, a second
worker joins by `studies.py worker`. Its time counts from the end of its imports, which every
Python process pays, to the start of its first trial.

The memory is that of the data: the prepared arrays, mean vectors and word vectors that a worker
maps, with shared pages counted once (PSS); and what it holds of them in memory of its own, which
counts for each worker: tensors over titles that lie in no mapped file, and the vocabulary. Weights
are no data, nor are the word vectors that a trial trains. Both workers run trials of one kind:
which files a trial reads depends on it, and other files are no second copy.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks import processes
from benchmarks.command import Report, options, verdict
from benchmarks.report import Spread
from data_utils import DataSpec
from data_utils.vocabulary import Vocabulary
from models.examples import Examples
from search.display.progress import Progress
from search.inputs import TrainingData, load_inputs

START_SECONDS, GROWTH_PERCENT = 1.0, 20.0
STUDY = "joining"
_FILTERS = (2, 3, 4)
# Kinds of trials by the data that they read, and the options of a search that runs no others.
KINDS = {
    "MLP, frozen vectors": ("--model", "mlp", "--set", "freeze_embeddings=True"),
    "MLP, trained vectors": ("--model", "mlp", "--set", "freeze_embeddings=False"),
    "CNN": ("--model", "cnn", "--set", f"filter_lengths={','.join(map(str, _FILTERS))}"),
}
# All that the command imports until its first trial is there before the clock starts.
_JOIN = """
import sys
import studies
import search.join, search.workers.local, mmap, scipy.special
print('{"event": "imported"}', flush=True)
sys.exit(studies.main(sys.argv[1:]))
"""
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


class Worker:
    """A command that prints JSON lines, read as they come."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=processes.ROOT, stdout=subprocess.PIPE, text=True
        )

    def wait_for(self, event: str) -> float:
        """The time at which it says this.

        Raises:
            RuntimeError: It ended before.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if json.loads(line)["event"] == event:
                return time.perf_counter()
        raise RuntimeError(f"a worker ended with {self.process.wait()} before it said {event}")

    def mapped_bytes(self, folder: Path) -> int:
        """Its share of the memory of the files in ``folder`` that it maps."""
        found, counts = 0, False
        for line in Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            if _MAPPING.match(line):
                counts = str(folder) in line
            elif counts and line.startswith("Pss:"):
                found += 1024 * int(line.split()[1])
        return found


@contextmanager
def worker(*command: str) -> Iterator[Worker]:
    """It is ended when it is not needed any more."""
    started = Worker(command)
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.communicate()


def own_bytes(data: str, cache: Path) -> dict[str, int]:
    """What a worker keeps of the data in memory of its own, for each kind of trial."""
    inputs = load_inputs(
        DataSpec(source=data), None, None, cache_folder=cache, progress=Progress()
    )
    training = TrainingData(inputs, cache_folder=cache, device=torch.device("cpu"))
    tracemalloc.start()
    words = Vocabulary.load(inputs.prepared.folder / "vocabulary.txt")
    vocabulary, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del words
    splits = ("train", "validation")
    examples = dict(
        zip(
            KINDS,
            (
                [training.pooled_train, training.pooled_validation],
                [training.train, training.validation],
                [training.padded(split, max(_FILTERS)) for split in splits],
            ),
            strict=True,
        )
    )
    return {kind: vocabulary + _unmapped(found, cache) for kind, found in examples.items()}


def _unmapped(examples: Iterable[Examples], cache: Path) -> int:
    """Bytes of tensors that lie in no mapped file of the cache."""
    files = [
        [int(number, 16) for number in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if str(cache.resolve()) in line
    ]
    tensors = []
    for split in examples:
        tensors += [split.token_ids, split.offsets, split.labels, split.host_lengths]
        tensors += [] if split.pooled is None else [split.pooled]
    return sum(
        tensor.nbytes
        for tensor in tensors
        if not any(start <= tensor.data_ptr() < end for start, end in files)
    )


def measure(data: str, cache: Path, kind: str) -> dict[str, float]:
    """One search, and one worker that joins it: seconds, and bytes of mapped files."""
    with tempfile.TemporaryDirectory() as out:
        (Path(out) / "cache").symlink_to(cache.resolve())
        place = ["--study", STUDY, "--out", out, "--json"]
        search = ["studies.py", "--data", data, "--trials", "500", "--pruner", "none"]
        search += [*KINDS[kind], *place]
        with worker(sys.executable, *search) as first:
            first.wait_for("evaluated")
            alone = first.mapped_bytes(cache.resolve())
            with worker(sys.executable, "-c", _JOIN, "worker", *place) as second:
                imported = second.wait_for("imported")
                started = second.wait_for("trial_started")
                second.wait_for("evaluated")
                both = sum(w.mapped_bytes(cache.resolve()) for w in (first, second))
    return {"seconds": started - imported, "alone_bytes": alone, "both_bytes": both}


def _growth_percent(turn: dict[str, float], own: int) -> float:
    return 100 * ((turn["both_bytes"] + 2 * own) / (turn["alone_bytes"] + own) - 1)


def main() -> None:
    """Measure, print the table and the targets, write the files."""
    parser = options(__doc__, quick="one turn for each kind of trial")
    parser.add_argument("--data", default="sat", help="as for studies.py")
    arguments = parser.parse_args()
    prepare = [sys.executable, "studies.py", "--data", arguments.data, "--dry-run"]
    processes.run([*prepare, "--out", str(arguments.out)])
    cache = arguments.out / "cache"
    own = own_bytes(arguments.data, cache)
    turns = {
        kind: [measure(arguments.data, cache, kind) for _ in range(1 if arguments.quick else 3)]
        for kind in KINDS
    }
    seconds = Spread.of([turn["seconds"] for found in turns.values() for turn in found])
    growth = {
        kind: Spread.of([_growth_percent(turn, own[kind]) for turn in found])
        for kind, found in turns.items()
    }
    report = Report()
    report.content |= {"own_bytes": own, "turns": turns}
    report.table(
        f"A second worker on {arguments.data}: memory for the data, median (lowest - highest)",
        ["trials", "mapped by one, MB", "its own, MB", "more with two, %"],
        [
            [
                kind,
                f"{found[0]['alone_bytes'] / 1e6:.1f}",
                f"{own[kind] / 1e6:.1f}",
                growth[kind].text(1),
            ]
            for kind, found in turns.items()
        ],
    )
    report.add(f"From its imports to its first trial: {seconds.text(2)} s")
    worst = max(spread.median for spread in growth.values())
    limits = (
        ("the second worker starts within", seconds.median, START_SECONDS, "s"),
        ("the data take at most this much more:", worst, GROWTH_PERCENT, "%"),
    )
    for text, found, most, unit in limits:
        target = f"{text} {most:g} {unit}"
        report.add(verdict(target, found <= most, f"{found:.2f} {unit}"))
    report.write(arguments)


if __name__ == "__main__":
    main()
