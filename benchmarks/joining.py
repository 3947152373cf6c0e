"""What a second worker costs on a machine: time to its first trial, memory for the data.

    python -m benchmarks.joining [--json FILE] [--markdown FILE] [--quick]

A search with one worker runs on prepared data; when its first trial has been evaluated, a second
worker joins by `studies.py worker`. Its time counts from the end of its imports, which every
Python process pays, to the start of its first trial. The memory is that of the prepared arrays and
word vectors, which both map: with shared pages counted once (PSS), by one worker and by both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.command import Report, options, verdict
from benchmarks.report import Spread

START_SECONDS, GROWTH_PERCENT = 1.0, 20.0
STUDY = "joining"
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


def measure(data: str, cache: Path) -> dict[str, float]:
    """One search, and one worker that joins it."""
    with tempfile.TemporaryDirectory() as out:
        (Path(out) / "cache").symlink_to(cache.resolve())
        place = ["--study", STUDY, "--out", out, "--json"]
        search = ["studies.py", "--data", data, "--trials", "500", "--pruner", "none", *place]
        with worker(sys.executable, *search) as first:
            first.wait_for("evaluated")
            alone = first.mapped_bytes(cache.resolve())
            with worker(sys.executable, "-c", _JOIN, "worker", *place) as second:
                imported = second.wait_for("imported")
                started = second.wait_for("trial_started")
                second.wait_for("evaluated")
                both = sum(w.mapped_bytes(cache.resolve()) for w in (first, second))
    return {"seconds": started - imported, "alone_bytes": alone, "both_bytes": both}


def main() -> None:
    """Measure, print the table and the targets, write the files."""
    parser = options(__doc__, quick="two turns")
    parser.add_argument("--data", default="sat", help="as for studies.py")
    arguments = parser.parse_args()
    prepare = [sys.executable, "studies.py", "--data", arguments.data, "--dry-run"]
    processes.run([*prepare, "--out", str(arguments.out)])
    cache = arguments.out / "cache"
    turns = [measure(arguments.data, cache) for _ in range(2 if arguments.quick else 5)]
    seconds = Spread.of([turn["seconds"] for turn in turns])
    growth = Spread.of([100 * (turn["both_bytes"] / turn["alone_bytes"] - 1) for turn in turns])
    report = Report()
    report.content |= {"turns": turns}
    rows = [
        ["from its imports to its first trial, s", seconds.text(2)],
        ["data mapped by one worker, MB", f"{turns[0]['alone_bytes'] / 1e6:.0f}"],
        ["more of it with two, %", growth.text(1)],
    ]
    report.table(f"A second worker on {arguments.data}", ["", "median (lowest - highest)"], rows)
    limits = (
        ("the second worker starts within", seconds.median, START_SECONDS, "s"),
        ("the data take at most this much more:", growth.median, GROWTH_PERCENT, "%"),
    )
    for text, found, most, unit in limits:
        target = f"{text} {most:g} {unit}"
        report.add(verdict(target, found <= most, f"{found:.2f} {unit}"))
    report.write(arguments)


if __name__ == "__main__":
    main()
