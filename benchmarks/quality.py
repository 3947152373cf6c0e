"""Balanced accuracy after equal wall time, against other ways to a classifier.

    python -m benchmarks.quality [--json FILE] [--markdown FILE] [--plot FILE] [--quick]

Each method gets ``--seconds`` of wall time on all cores, on each data set, with each of 3 seeds.
A seed is another split, too: in a test part with few titles of a rare category much is luck, for
all methods alike. All choose by validation, and what they chose is scored on test once. The data
are split, and our arrays and word vectors made, before the time starts; ours and random search
spend theirs as commands of ``studies.py``, starting up included. The methods:

- ours: ``studies.py`` as it comes, a worker per core
- random: the same with ``--sampler random --pruner none``
- plain: the course's script in a bare Optuna loop (``plain_search.py``)
- fasttext: fastText supervised with autotune
- linear: TF-IDF and a linear SVM tuned by Optuna
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks import processes
from benchmarks.command import Report, options, shared_data, verdict
from benchmarks.fasttext_rival import fasttext
from benchmarks.plain_search import PlainSearch
from benchmarks.plots import plot_curves
from benchmarks.rivals import Found, linear
from data_utils.spec import DataSpec
from models.evaluation import evaluate
from models.examples import Examples
from search.display.progress import Progress
from search.folders import OutputFolder
from search.inputs import Inputs, load_inputs
from search.results.opened import open_existing
from search.results.repeats import train_again
from search.results.report.origin import data_options

METHODS = ("ours", "random", "plain", "fasttext", "linear")
STRATEGY = {"ours": [], "random": ["--sampler", "random", "--pruner", "none"]}


def studies(
    method: str, model: str, spec: DataSpec, cache: Path, *, seconds: float, seed: int
) -> Found:
    """A search from the command line; its best trial is then trained again and scored on test."""
    cores = str(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        (out / "cache").symlink_to(cache.resolve())
        command = [sys.executable, "studies.py", "--model", model, *data_options(spec)]
        command += [
            "--out",
            scratch,
            "--trials",
            "100000",
            "--seed",
            str(seed),
            "--json",
            "--workers",
            cores,
        ]
        started = datetime.now()
        # The time starts with the command, and --timeout with the first trial.
        ran = processes.run([*command, *STRATEGY[method], "--timeout", f"{seconds:g}s"])
        opened = open_existing(None, None, out=out, device="cpu", progress=Progress())
        found = Found(seconds=ran.seconds)
        ended = [t for t in opened.leaders if _seconds_since(started, t) <= seconds]
        for trial in sorted(ended, key=lambda trial: _seconds_since(started, trial)):
            found.improved(_seconds_since(started, trial), trial.value or 0.0)
        states = [trial.state for trial in opened.trials]
        found.trials = sum(state in _COUNTED for state in states)
        if ended:
            best = max(ended, key=lambda trial: trial.value or 0.0)
            trained = train_again(opened, opened.config(best))
            found.test = _test_score(trained.model, opened.inputs)
        opened.storage.close()
    return found


_COUNTED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


def _seconds_since(started: datetime, trial: optuna.trial.FrozenTrial) -> float:
    assert trial.datetime_complete is not None
    return (trial.datetime_complete - started).total_seconds()


def _test_score(model: Any, inputs: Inputs) -> float:
    titles = inputs.prepared.test
    examples = Examples(
        token_ids=torch.from_numpy(titles.token_ids),
        offsets=torch.from_numpy(titles.offsets),
        labels=torch.from_numpy(titles.labels).long(),
    )
    return evaluate(model, examples.padded(model.min_length)).balanced_accuracy


def run_method(
    method: str, arguments: argparse.Namespace, spec: DataSpec, inputs: Inputs, *, seed: int
) -> Found:
    """One method, once."""
    seconds, cores = arguments.seconds, len(os.sched_getaffinity(0))
    cache = OutputFolder(arguments.out).cache
    # open_existing sets it to WARNING, of which trials that run out of time make use.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if method in STRATEGY:
            return studies(method, arguments.model, spec, cache, seconds=seconds, seed=seed)
        if method == "linear":
            return linear(inputs.prepared, seconds=seconds, seed=seed, threads=cores)
        if method == "fasttext":
            return fasttext(
                inputs.prepared, seconds=seconds, seed=seed, threads=cores, scratch=scratch
            )
        torch.set_num_threads(cores)
        search = PlainSearch(inputs.prepared, inputs.vectors.matrix, seed=seed, scratch=scratch)
        return search.run(seconds)


def compare(report: Report, arguments: argparse.Namespace, name: str, spec: DataSpec) -> None:
    """All methods in turn on one data set, seed by seed."""
    cache = OutputFolder(arguments.out).cache
    found: dict[str, list[Found]] = {method: [] for method in arguments.methods}
    for seed in range(arguments.seeds):
        own = replace(spec, split_seed=seed)
        inputs = load_inputs(own, None, None, cache_folder=cache, progress=Progress())
        for method in arguments.methods:
            one = run_method(method, arguments, own, inputs, seed=seed)
            found[method].append(one)
            scores = f"{_text([one.validation])} validation, {_text([one.test])} test"
            print(f"{name} {seed} {method}: {scores}, {one.trials} trials", flush=True)
    report.content.setdefault("data", {})[name] = {
        method: [asdict(one) for one in ones] for method, ones in found.items()
    }
    rows = [
        [
            method,
            _text([one.validation for one in ones]),
            _text([one.test for one in ones]),
            f"{statistics.mean(one.trials for one in ones):.0f}",
            f"{statistics.mean(one.seconds for one in ones):.0f}",
        ]
        for method, ones in found.items()
    ]
    header = ["method", "validation", "test", "trials", "seconds"]
    title = f"{name}: balanced accuracy after {arguments.seconds:g} s, mean (lowest - highest)"
    report.table(f"{title} of {arguments.seeds} seeds", header, rows)
    _judge(report, name, found)


def _judge(report: Report, name: str, found: dict[str, list[Found]]) -> None:
    means = {
        method: statistics.mean(one.test or 0.0 for one in ones) for method, ones in found.items()
    }
    if "ours" not in means or len(means) < 2:
        return
    best = max((method for method in means if method != "ours"), key=means.__getitem__)
    target = f"{name}: ours at least the best other on test"
    figures = f"ours {means['ours']:.4f}, {best} {means[best]:.4f}"
    report.add(verdict(target, means["ours"] >= means[best], figures))


def _text(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "none in time"
    if len(values) == 1:
        return f"{there[0]:.4f}"
    missing = f", {len(values) - len(there)} none" if len(there) < len(values) else ""
    return f"{statistics.mean(there):.4f} ({min(there):.4f} - {max(there):.4f}{missing})"


def main() -> None:
    """Compare on every data set, print the tables, write the files."""
    parser = options(__doc__, quick="15 s, one seed, 4,000 titles of the default data")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each method")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", choices=("mlp", "cnn"), default="mlp", help="of ours")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--plot", type=Path, help="curves over time as SVG or PNG")
    arguments = parser.parse_args()
    report = Report()
    if arguments.quick:
        arguments.seconds, arguments.seeds = 15.0, 1
        compare(report, arguments, "sat", DataSpec(sample=4_000, min_rows=5))
    else:
        for name, source in {"sat": "sat", **shared_data()}.items():
            compare(report, arguments, name, DataSpec(source=str(source)))
    if arguments.plot:
        plot_curves(report.content["data"], arguments.plot, seconds=arguments.seconds)
    report.write(arguments)


if __name__ == "__main__":
    main()
