"""How much time each pruner saves, and whether the winner survives.

    python -m benchmarks.pruning [--json FILE] [--markdown FILE] [--quick]
    python -m benchmarks.pruning --replay-only --titles 20000 --tasks mlp-sat cnn-sat
    python -m benchmarks.pruning --replay tests/data/curves-*.json

Random configurations are trained to their end once; their curves are kept in files under
OUT/bench, one by one as they come, and reused: a command that is broken off goes on where it was.
On these each pruner, the real one in an Optuna study in memory, is replayed
(``replay.py``): what 20 searches with one worker would have trained, each over a part of the
curves in an order of its own; and successive halving with other first looks and factors. Last,
one real search per pruner runs from the command line, all with the same configurations; there the
service's own time counts too, and so do baselines and good starts, which are never pruned.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import SuccessiveHalvingPruner

from benchmarks import processes
from benchmarks.command import Report, options, shared_data, verdict
from benchmarks.curves import Curve, Curves, record
from benchmarks.replay import Savings, savings
from data_utils import DataSpec
from search.options import DEFAULT_PRUNER
from search.strategies import PRUNERS, first_look

#: What studies.py takes when nothing is said.
SEARCHES = 20
TARGET_SAVED = 0.5
TARGET_POINTS = 0.5
#: On one set of recorded curves, in evaluations and not in seconds.
CHECK_STEPS_SAVED, CHECK_POINTS = 0.5, 0.2
FEW_TITLES = 4_000
MIN_ROWS_OF_A_SAMPLE = 5
#: A network and its data. Of the longer titles in shared/ the MLP alone: they take minutes.
TASKS = ("mlp-sat", "cnn-sat", "mlp-unspsc_titles", "cnn-unspsc_titles", "mlp-amazon_titles")
#: Of a replayed search, which draws them from all recorded ones: winners are to differ.
REPLAYED_TRIALS = 32
#: Of successive halving: first looks, as steps, and factors.
LOOKS, FACTORS = (2, 3, 4, 5), (2, 3, 4)
SEARCH_TRIALS = 50


def replay_all(curves: Sequence[Curve], max_steps: int, *, trials: int) -> dict[str, Savings]:
    """Every pruner on searches of so many trials, each over curves of its own choice."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}
    for name, make in PRUNERS.items():
        pruner = partial(make, max_steps)
        found[name] = savings(curves, pruner, searches=SEARCHES, trials=trials)
    return found


def acceptance(curves: Sequence[Curve], max_steps: int) -> str:
    """Whether the default halves the evaluations and keeps the best within 0.2 points."""
    found = savings(curves, partial(PRUNERS[DEFAULT_PRUNER], max_steps), searches=SEARCHES)
    stopped = found.first_pruned_step
    warm = stopped is None or stopped >= first_look(max_steps)
    holds = found.steps_saved >= CHECK_STEPS_SAVED and found.lost_points <= CHECK_POINTS and warm
    target = (
        f"{DEFAULT_PRUNER} on {len(curves)} curves, {SEARCHES} searches: "
        "at most half of the evaluations"
    )
    return verdict(
        f"{target}, at most {CHECK_POINTS} points lost, nothing stopped before its warm-up",
        holds,
        f"{1 - found.steps_saved:.0%}, {found.lost_points:.2f} points, "
        f"first stop at step {stopped}",
    )


def real_search(
    pruner: str, model: str, data: Sequence[str], cache: Path, *, trials: int
) -> dict[str, Any]:
    """Wall time and best value of one search from the command line."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "cache").symlink_to(cache.resolve())
        command = [sys.executable, "studies.py", "--model", model, "--out", scratch, "--json"]
        command += ["--trials", str(trials), "--sampler", "random", "--pruner", pruner, *data]
        ran = processes.run(command)
        url = f"sqlite:///{scratch}/optuna.db"
        (name,) = optuna.get_all_study_names(url)
        trials_done = optuna.load_study(study_name=name, storage=url).get_trials()
    started = next(s for s, line in ran.lines if json.loads(line)["event"] == "trial_started")
    ended = max(s for s, line in ran.lines if json.loads(line)["event"] == "trial_finished")
    complete = [t for t in trials_done if t.state == optuna.trial.TrialState.COMPLETE]
    best = max(complete, key=lambda trial: trial.value or 0.0)
    return {
        "seconds": ended - started,
        "best": best.value,
        "winner": json.dumps(best.params, sort_keys=True),
        "pruned": len(trials_done) - len(complete),
    }


def real_searches(
    report: Report, model: str, data: Sequence[str], cache: Path, *, names: Sequence[str], n: int
) -> None:
    """One search per pruner, beside the one without."""
    found = {}
    for name in names:
        found[name] = real_search(name, model, data, cache, trials=n)
        print(f"{name}: {found[name]['seconds']:.0f} s, {found[name]['best']:.4f}", flush=True)
    whole = found["none"]
    rows = []
    for name, one in found.items():
        one["time_saved"] = 1 - one["seconds"] / whole["seconds"]
        one["lost_points"] = 100 * (whole["best"] - one["best"])
        survives = "yes" if one["winner"] == whole["winner"] else "no"
        share, lost = f"{one['time_saved']:.0%}", f"{one['lost_points']:.2f}"
        rows.append([name, f"{one['seconds']:.0f}", share, str(one["pruned"]), lost, survives])
    report.content["searches"] = found
    header = ["pruner", "seconds", "time saved", "pruned", "points lost", "winner survives"]
    report.table(f"Real searches, {n} {model} trials, one worker, random sampler", header, rows)
    default = found[DEFAULT_PRUNER]
    target = f"{DEFAULT_PRUNER} saves {TARGET_SAVED:.0%} of the time within {TARGET_POINTS} points"
    holds = default["time_saved"] >= TARGET_SAVED and default["lost_points"] <= TARGET_POINTS
    result = f"{default['time_saved']:.0%}, {default['lost_points']:.2f} points, in a real search"
    report.add(verdict(target, holds, result))


def add_replay(report: Report, recorded: Curves, *, trials: int) -> None:
    """The table of one network on one data set."""
    count = min(trials, len(recorded.curves))
    found = replay_all(recorded.curves, recorded.max_steps, trials=count)
    key = f"{recorded.model} {recorded.data}"
    report.content.setdefault("replayed", {})[key] = {
        "trials": count,
        "pruners": {name: asdict(one) for name, one in found.items()},
    }
    rows = [
        [
            name,
            f"{one.time_saved:.0%}",
            f"{one.steps_saved:.0%}",
            f"{one.pruned:.0f}",
            f"{one.lost_points:.2f}",
            f"{one.most_lost_points:.2f}",
            f"{one.winner_survives:.0%}",
        ]
        for name, one in found.items()
    ]
    header = ["pruner", "time saved", "evaluations saved", "pruned", "points lost", "most"]
    header += ["winner survives"]
    title = f"Replayed: {recorded.model} on {recorded.data}, {SEARCHES} searches of {count} trials"
    title += f" out of {len(recorded.curves)}"
    report.table(title, header, rows)
    report.add(acceptance(recorded.curves, recorded.max_steps))
    _add_halvings(report, recorded, trials=count)


def _add_halvings(report: Report, recorded: Curves, *, trials: int) -> None:
    rows = []
    for look, factor in itertools.product(LOOKS, FACTORS):
        pruner = partial(SuccessiveHalvingPruner, min_resource=look, reduction_factor=factor)
        one = savings(recorded.curves, pruner, searches=SEARCHES, trials=trials)
        figures = f"{one.steps_saved:.0%}", f"{one.lost_points:.2f}", f"{one.most_lost_points:.2f}"
        rows.append([f"step {look}, factor {factor}", *figures])
    header = ["first look, factor", "evaluations saved", "points lost", "most"]
    report.table("Successive halving in these searches", header, rows)


def main() -> None:
    """Record what is missing, replay, search, print the tables, write the files."""
    parser = options(__doc__, quick=f"24 curves of {FEW_TITLES:,} titles, two searches")
    parser.add_argument("--configurations", type=int, default=64, help="curves of each task")
    parser.add_argument("--titles", type=int, help="record on a sample of so many [default: all]")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="what to record [default: all]")
    parser.add_argument("--replay-only", action="store_true", help="no searches")
    parser.add_argument(
        "--replay", nargs="+", type=Path, help="these recorded curves, and no more"
    )
    arguments = parser.parse_args()
    report = Report()
    if arguments.replay:
        for path in arguments.replay:
            add_replay(report, Curves.load(path), trials=REPLAYED_TRIALS)
        report.write(arguments)
        return
    tasks = _tasks(arguments)
    for path, spec, model, count in tasks:
        cache = arguments.out / "cache"
        recorded = record(path, spec, model, count=count, cache_folder=cache)
        add_replay(report, recorded, trials=16 if arguments.quick else REPLAYED_TRIALS)
    if not arguments.replay_only:
        few = ("--sample", str(FEW_TITLES), "--min-rows", "5") if arguments.quick else ()
        names = (
            ("none", DEFAULT_PRUNER) if arguments.quick else ("none", *(set(PRUNERS) - {"none"}))
        )
        trials = 16 if arguments.quick else SEARCH_TRIALS
        real_searches(report, "mlp", few, arguments.out / "cache", names=names, n=trials)
    report.write(arguments)


def _tasks(arguments: argparse.Namespace) -> list[tuple[Path, DataSpec, str, int]]:
    """File of the curves, data, network, number of curves."""
    keep = arguments.out / "bench"
    if arguments.quick:
        few = DataSpec(sample=FEW_TITLES, min_rows=MIN_ROWS_OF_A_SAMPLE)
        return [(keep / "curves-few.json", few, "mlp", 24)]
    sources = {"sat": "sat", **{name: str(path) for name, path in shared_data().items()}}
    titles: int | None = arguments.titles
    found = []
    for task in arguments.tasks or TASKS:
        model, data = task.split("-")
        if data in sources:
            spec = DataSpec(
                source=sources[data],
                sample=titles,
                min_rows=MIN_ROWS_OF_A_SAMPLE if titles else None,
            )
            name = f"curves-{task}-{titles}.json" if titles else f"curves-{task}.json"
            found.append((keep / name, spec, model, arguments.configurations))
    return found


if __name__ == "__main__":
    main()
