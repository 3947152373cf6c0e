"""Many workers on one PostgreSQL, directly and through the gRPC proxy.

    python -m benchmarks.many_workers [--workers 64] [--json FILE] [--markdown FILE] [--quick]

Each worker is a process with a storage and a heartbeat of its own. A trial takes five parameters
from a random sampler, sleeps for 50 ms, and reports twice, with the pruner asked after each. What
it takes beyond its sleep is the storage's work and the wait for a core, which the workers share
with PostgreSQL and the proxy. The command fails if a worker failed, a trial was lost or the
budget was not met exactly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

import optuna
import sqlalchemy

from benchmarks.command import Report, options
from benchmarks.many_workers_host import STUDY, TRIAL_SECONDS
from benchmarks.postgres import running_server
from benchmarks.processes import ROOT
from search.storage.budget import count_states, set_budget
from search.storage.opening import open_database

_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True)
class Measured:
    """One way to the database.

    Attributes:
        trials_per_second: Of all workers, from the first trial's start to the last one's end.
        trials_per_worker: Trials per second of a worker, the median of the workers.
        overhead_ms: Wall time from one trial of a worker to its next, beyond the sleep; the mean.
        cpu_ms: Processor time of a worker per trial.
        connections: To the database, at most.
    """

    way: str
    trials: int
    trials_per_second: float
    trials_per_worker: float
    overhead_ms: float
    cpu_ms: float
    connections: int


def main() -> None:
    """Measure both ways, print a table, write the files."""
    parser = options(__doc__, quick="12 workers, 5 trials each")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=20, help="of each worker, in the mean")
    arguments = parser.parse_args()
    workers = 12 if arguments.quick else arguments.workers
    n_trials = workers * (5 if arguments.quick else arguments.trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # PostgreSQL's own limit is 100; each worker takes two.
    with running_server(max_connections=3 * workers + 50) as new_database:
        if new_database is None:
            sys.exit("there is no PostgreSQL server in /usr/lib/postgresql")
        found = [measure("direct", new_database(), workers, n_trials)]
        print(_line(found[-1]), flush=True)
        database = new_database()
        with proxy_of(database) as address:
            found.append(measure("proxy", database, workers, n_trials, address=address))
        print(_line(found[-1]), flush=True)
    report = Report()
    report.content |= {"workers": workers, "ways": [asdict(way) for way in found]}
    report.table(
        f"{workers} workers on {os.cpu_count()} cores, trials of {1000 * TRIAL_SECONDS:.0f} ms",
        ("way", "trials", "trials/s", "per worker", "overhead ms", "CPU ms", "connections"),
        [
            (
                way.way,
                str(way.trials),
                f"{way.trials_per_second:.1f}",
                f"{way.trials_per_worker:.2f}",
                f"{way.overhead_ms:.0f}",
                f"{way.cpu_ms:.0f}",
                str(way.connections),
            )
            for way in found
        ],
    )
    report.add("No error, no trial lost, the budgets met exactly.")
    report.write(arguments)


def _line(way: Measured) -> str:
    return f"{way.way}: {way.trials} trials, {way.trials_per_second:.1f} a second"


def measure(
    way: str, database: str, workers: int, n_trials: int, *, address: str | None = None
) -> Measured:
    """Run a study of ``n_trials`` and see how it ended.

    Raises:
        RuntimeError: A worker failed, or the budget was not met exactly.
    """
    storage = open_database(database)
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    set_budget(storage, study._study_id, n_trials=n_trials)
    # One process imports everything and forks the workers: so many imports would take minutes.
    host = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.many_workers_host", str(workers)],
        cwd=ROOT,
        env={**os.environ, "STORAGE_URL": address or database, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    connections = 0
    while host.poll() is None:
        with storage.engine.connect() as connection:
            # Less our own.
            count = (connection.scalar(sqlalchemy.text(_CONNECTIONS)) or 1) - 1
        connections = max(connections, count)
        time.sleep(0.5)
    assert host.stdout is not None
    told: list[dict[str, Any]] = [json.loads(line) for line in host.stdout]
    counts = {state.name: n for state, n in count_states(storage, study._study_id).items()}
    storage.close()
    done = counts.get("COMPLETE", 0) + counts.get("PRUNED", 0)
    if host.returncode or len(told) != workers or done != sum(counts.values()) or done != n_trials:
        raise RuntimeError(f"{way}: {len(told)} of {workers} workers came through, {counts}")
    busy = [worker for worker in told if worker["trials"] > 1]
    seconds = max(w["ended"] for w in told) - min(w["began"] for w in told)
    return Measured(
        way=way,
        trials=n_trials,
        trials_per_second=n_trials / seconds,
        trials_per_worker=median(w["trials"] / (w["ended"] - w["began"]) for w in busy),
        overhead_ms=1000 * mean(_seconds_per_trial(w) - TRIAL_SECONDS for w in busy),
        cpu_ms=1000 * sum(w["cpu_seconds"] for w in told) / n_trials,
        connections=connections,
    )


def _seconds_per_trial(worker: dict[str, Any]) -> float:
    return (worker["ended"] - worker["began"]) / worker["trials"]


@contextmanager
def proxy_of(database: str) -> Iterator[str]:
    """A proxy of the database in a process of its own, as its address."""
    process = subprocess.Popen(
        [sys.executable, "studies.py", "proxy", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "STORAGE_URL": database},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        yield next(word.rstrip(";") for word in line.split() if word.startswith("grpc://"))
    finally:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    main()
