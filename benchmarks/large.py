"""A whole search on millions of titles: seconds, memory and the longest silence of each part.

    python -m benchmarks.large [--json FILE] [--markdown FILE] [--quick]

The titles are made (``titles.py``) of 632 categories of a long tail, with an invented word in one
of ten: their vocabulary has some 100,000 words for each million. A search of two trials of one
epoch, its report, its export and the prediction of all titles are commands as a user types
them, each in turn; of the search the start, the preparation of titles, that of word vectors, and
the trials are told apart by what it says. Memory is that of all processes of a command, shared
pages counted once. A silence is the time between two lines of a command that say something;
that a process is still alive is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.command import Report, options, verdict
from benchmarks.titles import long_tail, stretches_of_the_catalogue, write_titles
from data_utils.vocabulary import SPECIAL_TOKENS

TITLES = 3_000_000
QUICK_TITLES = 30_000
CATEGORIES = 632
INVENTED = 0.1
LEAST_WORDS = 200_000
TARGET_GIGABYTES = 4.0
TARGET_SILENCE_SECONDS = 10.0
MEMORY_SECONDS = 0.5  # between two looks
STUDY = "large"


@dataclass(frozen=True)
class Part:
    """A part of the whole, as it went."""

    name: str
    seconds: float
    peak_gigabytes: float
    silence_seconds: float
    after: str  # what was said last before the longest silence


def part(
    name: str, ran: processes.Ran, said: Sequence[tuple[float, str]], bounds: tuple[float, float]
) -> Part:
    """The part of a command between two times; ``said`` are its lines, or what they mean."""
    first, last = bounds
    inside = [line for line in said if first <= line[0] <= last]
    moments = [(first, "its start"), *inside, (last, "")]
    gaps = [
        (after - before, text)
        for (before, text), (after, _) in zip(moments, moments[1:], strict=False)
    ]
    silence, text = max(gaps)
    memory = [size for moment, size in ran.memory if first <= moment <= last]
    return Part(name, last - first, max(memory, default=0) / 1e9, silence, text)


def run(*arguments: str | Path) -> processes.Ran:
    """A command of ``studies.py``, its memory watched."""
    command = [sys.executable, "studies.py", *map(str, arguments)]
    return processes.run(command, memory_every=MEMORY_SECONDS)


def search(csv: Path, out: Path, *more: str) -> list[Part]:
    """The search, in parts."""
    common = ["--study", STUDY, "--out", str(out), "--json"]
    ran = run("--data", csv, "--trials", "2", "--epochs", "1", *common, *more)
    events = [(moment, json.loads(line)) for moment, line in ran.lines if line.startswith("{")]
    said = [
        (moment, event.get("text") or event["event"])
        for moment, event in events
        if event["event"] != "alive"
    ]
    told = [text for _, text in said]
    vectors = next(moment for moment, text in said if "vectors" in text)
    trials = next(moment for moment, text in said if text == "trial_started")
    assert told.count("trial_finished") == 2
    first = said[0][0]
    bounds = {
        "start": (0.0, first),
        "titles": (first, vectors),
        "word vectors": (vectors, trials),
        "two trials": (trials, ran.seconds),
    }
    return [part(f"search: {name}", ran, said, times) for name, times in bounds.items()]


def command(name: str, *arguments: str | Path) -> Part:
    """Another command, as one part."""
    ran = run(name, *arguments)
    return part(name, ran, sorted(ran.lines + ran.errors), (0.0, ran.seconds))


def whole(csv: Path, out: Path) -> list[Part]:
    """All parts in turn."""
    exported, found = out / "exports" / STUDY, out / "found.csv"
    study: list[str | Path] = ["--study", STUDY, "--out", out]
    parts = search(csv, out)
    parts.append(command("report", *study, "--seeds", "1", "--top", "1"))
    parts.append(command("export", *study, "--seeds", "1", "--to", exported))
    titles: list[str | Path] = ["--input", csv, "--format", "csv", "--to", found]
    parts.append(command("predict", "--model", exported, *titles))
    return parts


def describe(report: Report, parts: list[Part], *, count: int, words: int, whole: bool) -> None:
    """The table, and what it should reach."""
    header = ["part", "seconds", "peak GB", "longest silence, s", "after"]
    rows = [
        [
            p.name,
            f"{p.seconds:.0f}",
            f"{p.peak_gigabytes:.2f}",
            f"{p.silence_seconds:.1f}",
            p.after,
        ]
        for p in parts
    ]
    report.table(f"{count:,} titles, {CATEGORIES} categories, {words:,} words", header, rows)
    report.content |= {"titles": count, "words": words, "parts": [asdict(p) for p in parts]}
    peak = max(p.peak_gigabytes for p in parts)
    silent = max(parts, key=lambda p: p.silence_seconds)
    report.add(
        verdict(f"at most {TARGET_GIGABYTES:g} GB", peak <= TARGET_GIGABYTES, f"{peak:.2f} GB")
    )
    report.add(
        verdict(
            f"no part silent for more than {TARGET_SILENCE_SECONDS:g} s",
            silent.silence_seconds <= TARGET_SILENCE_SECONDS,
            f"{silent.silence_seconds:.1f} s ({silent.name}, after {silent.after!r})",
        )
    )
    if whole:
        report.add(verdict(f"at least {LEAST_WORDS:,} words", words >= LEAST_WORDS, f"{words:,}"))


def main() -> None:
    """Make the titles, run everything, write the files."""
    parser = options(__doc__, quick=f"{QUICK_TITLES:,} titles")
    parser.add_argument("--titles", type=int, help=f"[default: {TITLES:,}]")
    arguments = parser.parse_args()
    count = arguments.titles or (QUICK_TITLES if arguments.quick else TITLES)
    csv = arguments.out / "bench" / f"long-tail-{count}.csv"
    write_titles(
        csv,
        count,
        stretches_of_the_catalogue(CATEGORIES),
        shares=long_tail(CATEGORIES),
        invented=INVENTED,
    )
    report = Report()
    with tempfile.TemporaryDirectory(dir=csv.parent) as folder:
        parts = whole(csv, Path(folder))
        exported = Path(folder) / "exports" / STUDY / "vocabulary.txt"
        words = sum(1 for _ in exported.open("rb")) - len(SPECIAL_TOKENS)
    describe(report, parts, count=count, words=words, whole=count >= TITLES)
    report.write(arguments)


if __name__ == "__main__":
    main()
