"""Titles per second and memory of preparing a data set, against the course's way.

    python -m benchmarks.preparation [--json FILE] [--markdown FILE] [--quick]

The same rows (real ones, recombined, as the challenge's raw CSV) are prepared in turn by ours with
a process per core, by ours with one process, and by the course's way (``course_way.py``), each in
a process of its own; loading libraries is not counted. Ours reads, cleans, tokenizes, splits near
duplicates to one side, builds the vocabulary and writes checked arrays; the course's way does the
same but for the near duplicates and the checks, and writes JSON lines. The full form then prepares
5 million titles. Memory is that of all processes together, shared pages counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.command import Report, options, shared_data, verdict
from benchmarks.report import Spread
from benchmarks.titles import real_titles, write_titles

TARGET_RATIO = 10.0
TARGET_GIGABYTES = 4.0
WAYS = ("ours", "ours, one process", "course")


def one_way(way: str, csv: Path, folder: Path) -> dict[str, float]:
    """Prepare the rows here; seconds by stage, of which there is one if it is ours."""
    if way == "course":
        from benchmarks.course_way import prepare_course_way

        return prepare_course_way(csv, folder)
    from data_utils import DataSpec, prepare

    count = 1 if way == "ours, one process" else len(os.sched_getaffinity(0))
    # Stems are ours alone.
    spec = DataSpec(source=str(csv), stemmer="none")
    started = time.perf_counter()
    prepare(spec, folder, processes=count)
    return {"all": time.perf_counter() - started}


def measure(way: str, csv: Path, scratch: Path) -> dict[str, Any]:
    """The same in a process of its own, its memory watched."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = [sys.executable, "-m", "benchmarks.preparation", "--way", way]
        ran = processes.run([*command, "--rows", str(csv), "--folder", folder], memory_every=0.2)
    stages = json.loads(ran.lines[-1][1])
    seconds = sum(stages.values())
    return {"seconds": seconds, "stages": stages, "peak_megabytes": ran.peak_bytes / 1e6}


def compare(report: Report, csv: Path, count: int, *, repeats: int) -> None:
    """All ways in turn on the same rows."""
    turns: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            turns[way].append(measure(way, csv, csv.parent))
            print(f"{way}: {turns[way][-1]['seconds']:.1f} s", flush=True)
    rows = []
    course = [turn["seconds"] for turn in turns["course"]]
    for way, found in turns.items():
        seconds = [turn["seconds"] for turn in found]
        ratio = Spread.of([b / a for a, b in zip(seconds, course, strict=True)])
        rate = Spread.of([count / s for s in seconds])
        peak = max(turn["peak_megabytes"] for turn in found)
        rows.append([way, rate.text(), ratio.text(1), f"{peak:,.0f}"])
        report.content[way] = {"turns": found, "ratio": vars(ratio), "rate": vars(rate)}
    header = ["way", "titles/s", "ratio to the course's way", "peak MB"]
    report.table(f"Preparing {count:,} titles", header, rows)
    ratio_ours = report.content["ours"]["ratio"]["median"]
    target = f"at least {TARGET_RATIO:g} x the titles/s of the course's way"
    report.add(verdict(target, ratio_ours >= TARGET_RATIO, f"{ratio_ours:.1f} x"))


def challenge_size(report: Report, csv: Path, count: int) -> None:
    """Ours alone at the size of the real challenge."""
    found = measure("ours", csv, csv.parent)
    gigabytes = found["peak_megabytes"] / 1e3
    report.content["challenge_size"] = {"titles": count, **found}
    seconds = found["seconds"]
    rate = f"{count / seconds:,.0f} titles/s"
    report.add(f"{count:,} titles: {seconds:.0f} s, {rate}, at most {gigabytes:.2f} GB.")
    target = f"{count:,} titles within {TARGET_GIGABYTES:g} GB"
    report.add(verdict(target, gigabytes <= TARGET_GIGABYTES, f"{gigabytes:.2f} GB"))


def main() -> None:
    """Measure, print the table, write the files."""
    parser = options(__doc__, quick="20,000 titles and no 5 million")
    parser.add_argument("--titles", type=int, default=5_000_000, help="of the last run")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(one_way(arguments.way, arguments.rows, arguments.folder)))
        return
    try:
        import nltk  # noqa: F401
    except ImportError:
        sys.exit("skipped: the course's way needs nltk, `pip install '.[bench]'`")
    report = Report()
    keep = arguments.out / "bench"
    sources = ["sat", *map(str, shared_data().values())]
    real = real_titles(sources, arguments.out / "cache")
    count = 20_000 if arguments.quick else 300_000
    write_titles(keep / f"titles-{count}.csv", count, real)
    compare(report, keep / f"titles-{count}.csv", count, repeats=3 if arguments.quick else 5)
    if not arguments.quick:
        write_titles(keep / f"titles-{arguments.titles}.csv", arguments.titles, real)
        challenge_size(report, keep / f"titles-{arguments.titles}.csv", arguments.titles)
    report.write(arguments)


if __name__ == "__main__":
    main()
