"""Trials per hour with several workers, and what more titles cost before the first trial.

    python -m benchmarks.scaling [--json FILE] [--markdown FILE] [--quick]

The same trials run with 1, 2 and 4 workers in turn: random sampler, nothing pruned, and what a
trial's time depends on fixed, so that the work is equal and no worker is left alone with a long
trial at the end. They are studies in one output folder, where a first command of one trial has
prepared the data and had MLflow make its database. Trials per hour are those of the whole command,
from the start of its first trial to the end of its last; epochs per second are those of the time
after each worker's first trial, when all that a command starts is there. A command that finds its
data unprepared then runs on 10^4 and more titles (real ones, recombined) until the first
evaluation of its first trial.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.command import Report, options, shared_data, verdict
from benchmarks.report import Spread
from benchmarks.titles import real_titles, write_titles
from search.spaces import DEFAULT_EPOCHS

TARGET_RATIO = 1.8
RATES = {"trials_per_hour": 0, "epochs_per_second": 2}  # digits to show
EQUAL = "--set hidden_sizes=512,256 --set freeze_embeddings=no --set batch_size=128".split()


def search(
    data: str, out: Path, study: str, *, workers: int, trials: int, epochs: int
) -> processes.Ran:
    """One command with equal trials."""
    command = [sys.executable, "studies.py", "--data", data, "--out", str(out), "--json"]
    command += ["--study", study, "--trials", str(trials), "--workers", str(workers)]
    command += ["--sampler", "random", "--pruner", "none", "--epochs", str(epochs)]
    return processes.run([*command, *EQUAL], memory_every=5.0)


def rates_of(ran: processes.Ran, *, workers: int, trials: int, epochs: int) -> dict[str, float]:
    """What a command with so many workers, fewer than trials, reached."""
    started, finished = _when(ran, "trial_started"), _when(ran, "trial_finished")
    if len(finished) != trials:
        raise RuntimeError(f"{len(finished)} trials ended, not {trials}")
    # Equal trials end in turn: the first that end are the first of each worker.
    later = trials - workers
    return {
        "trials_per_hour": trials / (finished[-1] - started[0]) * 3600,
        "epochs_per_second": later * epochs / (finished[-1] - finished[workers - 1]),
        "seconds_to_first_trial": started[0],
        "seconds": ran.seconds,
        "peak_megabytes": ran.peak_bytes / 1e6,
    }


def _when(ran: processes.Ran, event: str) -> list[float]:
    """The seconds at which lines told of this event."""
    return [seconds for seconds, line in ran.lines if json.loads(line)["event"] == event]


def compare_workers(
    report: Report,
    arguments: argparse.Namespace,
    *,
    numbers: tuple[int, ...],
    trials: int,
    repeats: int,
    epochs: int,
) -> None:
    """Turns of 1, 2, ... workers, and their ratios within each turn."""
    turns: dict[int, list[dict[str, float]]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as scratch:
        cache = (arguments.out / "cache").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        (Path(scratch) / "cache").symlink_to(cache)

        run = partial(search, arguments.data, Path(scratch), epochs=epochs)
        run("first", workers=1, trials=1)
        for turn in range(repeats):
            for number in numbers:
                ran = run(f"{number}-workers-{turn}", workers=number, trials=trials)
                found = rates_of(ran, workers=number, trials=trials, epochs=epochs)
                turns[number].append(found)
                print(f"{number} workers: {found['trials_per_hour']:.0f} trials/h", flush=True)
    rows, ratios = [], {}
    for number, found_each in turns.items():
        rates = {rate: [found[rate] for found in found_each] for rate in RATES}
        ratios[number] = {
            rate: Spread.of([a / b[rate] for a, b in zip(rates[rate], turns[1], strict=True)])
            for rate in RATES
        }
        peak = max(found["peak_megabytes"] for found in found_each)
        cells = [
            text
            for rate, digits in RATES.items()
            for text in (Spread.of(rates[rate]).text(digits), ratios[number][rate].text(2))
        ]
        rows.append([str(number), *cells, f"{peak:,.0f}"])
        report.content.setdefault("workers", {})[str(number)] = {
            "turns": found_each,
            "ratios": {rate: vars(ratio) for rate, ratio in ratios[number].items()},
        }
    header = ["workers", "trials per hour", "ratio to 1", "epochs/s", "ratio to 1", "peak MB"]
    report.table(f"{trials} equal trials of {epochs} epochs on {arguments.data}", header, rows)
    for rate in RATES:
        ratio = ratios[2][rate].median
        target = f"2 workers at least {TARGET_RATIO} x the {rate.replace('_', ' ')} of 1"
        report.add(verdict(target, ratio >= TARGET_RATIO, f"{ratio:.2f} x"))


def first_trial(count: int, real: dict[str, list[str]], *, keep: Path) -> dict[str, Any]:
    """What a command on ``count`` unprepared titles costs until its first evaluation."""
    path = keep / f"titles-{count}.csv"
    write_titles(path, count, real)
    with tempfile.TemporaryDirectory(dir=keep) as scratch:
        command = [sys.executable, "studies.py", "--data", str(path), "--out", scratch, "--json"]
        command += ["--epochs", "1"]
        ran = processes.run(
            command, stop_at=lambda line: '"event": "evaluated"' in line, memory_every=0.2
        )
    texts: dict[str, float] = {}
    for seconds, line in ran.lines:
        event = json.loads(line)
        if event["event"] == "preparing":
            texts.setdefault(str(event["text"]), seconds)
    return {
        "titles": count,
        "file_megabytes": path.stat().st_size / 1e6,
        "first_trial_seconds": _when(ran, "trial_started")[0],
        "first_evaluation_seconds": _when(ran, "evaluated")[0],
        "peak_megabytes": ran.peak_bytes / 1e6,
        "phases": texts,
    }


def main() -> None:
    """Measure, print the tables, write the files."""
    parser = options(__doc__, quick="1 and 2 workers, few and short trials, 10^4 titles")
    parser.add_argument("--data", default="sat", help="as for studies.py")
    parser.add_argument("--trials", type=int, default=None, help="of each command")
    parser.add_argument("--titles", type=int, default=5_000_000, help="the most of the curve")
    arguments = parser.parse_args()
    report = Report()
    quick = arguments.quick
    numbers = (1, 2) if quick else (1, 2, 4)
    trials = arguments.trials or (8 if quick else 16)
    if trials <= max(numbers):
        parser.error(f"--trials is {trials}; give more than the {max(numbers)} workers")
    compare_workers(
        report,
        arguments,
        numbers=numbers,
        trials=trials,
        repeats=1 if quick else 3,
        epochs=3 if quick else DEFAULT_EPOCHS["mlp"],
    )
    sources = ["sat", *map(str, shared_data().values())]
    real = real_titles(sources, arguments.out / "cache")
    most = min(arguments.titles, 10_000) if quick else arguments.titles
    sizes = [size for size in (10**4, 10**5, 10**6) if size < most] + [most]
    found_all = [first_trial(size, real, keep=arguments.out / "bench") for size in sizes]
    report.content["titles"] = found_all
    rows = [
        [
            f"{found['titles']:,}",
            f"{found['file_megabytes']:,.1f}",
            f"{found['first_trial_seconds']:.1f}",
            f"{found['first_evaluation_seconds']:.1f}",
            f"{found['peak_megabytes']:,.0f}",
        ]
        for found in found_all
    ]
    header = ["titles", "file MB", "s to first trial", "s to first evaluation", "peak MB"]
    report.table("Unprepared titles: from the command to the first trial", header, rows)
    report.write(arguments)


if __name__ == "__main__":
    main()
