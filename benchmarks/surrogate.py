"""How well configurations are chosen, on recorded tasks that answer at once.

    python -m benchmarks.surrogate [--json FILE] [--markdown FILE] [--quick]

The curves that ``benchmarks.pruning`` recorded become tasks: extra trees, fitted once, foretell
the learning curve of any configuration. A search of 50 trials over such a task takes a second. For
each task and seed the regret is the best value found anywhere on that task less the best COMPLETE
value of the search. Ours (the default sampler and pruner, the good starts) must not regret more
than random search with twice the trials, nor than Optuna as it comes (TPE, median pruner) with as
many; and four workers not 10 % more than one. Baselines, which both would share, are left out.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.command import Report, options, verdict
from benchmarks.curves import Curves
from benchmarks.report import Spread
from search.options import DEFAULT_PRUNER
from search.spaces import DEFAULT_EPOCHS, POOLINGS, SEARCH_SPACES, Task, good_starts
from search.strategies import PRUNERS, SAMPLERS
from search.workers.attempt import trial_seed

TRIALS, SEEDS, WORKERS = 50, 20, 4
TARGET_LOSS = 0.10


class RecordedTask:
    """A network on a data set whose learning curves are foretold."""

    def __init__(self, recorded: Curves) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self.model, self.name = recorded.model, f"{recorded.model} {recorded.data}"
        self.max_steps = recorded.max_steps
        self._names = sorted({name for curve in recorded.curves for name in curve.params})
        features = np.array([self._features(curve.params) for curve in recorded.curves])
        # A shorter curve goes on with its last value.
        values = [
            curve.values + [curve.values[-1]] * (self.max_steps - len(curve.values))
            for curve in recorded.curves
        ]
        self._trees = ExtraTreesRegressor(n_estimators=100, random_state=0, n_jobs=1)
        self._trees.fit(features, np.array(values))

    def suggest(self, trial: optuna.Trial) -> None:
        """Ask for the parameters of the task's search space."""
        sizes = {"vocabulary_size": 1000, "embedding_dim": 300, "num_classes": 50}
        task = Task(**sizes, max_epochs=DEFAULT_EPOCHS[self.model])
        SEARCH_SPACES[self.model](trial, task)

    def curve(self, params: Mapping[str, Any]) -> list[float]:
        """The foretold validation balanced accuracy of every step."""
        features = np.array([self._features(params)], dtype=np.float32)
        # As the forest's own predict, which takes five times as long over one configuration.
        answers = [tree.tree_.predict(features)[0, :, 0] for tree in self._trees.estimators_]
        return [float(value) for value in np.mean(answers, axis=0)]

    def _features(self, params: Mapping[str, Any]) -> list[float]:
        found = []
        for name in self._names:
            value = params.get(name, 0)
            if value in POOLINGS:
                value = POOLINGS.index(value)
            elif isinstance(value, str):  # filter lengths: how many, and the longest
                value = 100 * value.count(",") + int(value.split(",")[-1])
            elif name in ("learning_rate", "weight_decay"):
                value = np.log(value)
            found.append(float(value))
        return found


MakeSampler = Callable[[int], BaseSampler]


def search(
    task: RecordedTask,
    make_sampler: MakeSampler,
    pruner: BasePruner,
    *,
    trials: int,
    first: Sequence[Mapping[str, Any]] = (),
    workers: int = 1,
) -> float:
    """The best COMPLETE value of a search; ``make_sampler`` gets the ordinal of the trial.

    The ``first`` configurations are never pruned, as in a search of ours. Several workers take a
    step each in turn, as workers of one speed would.
    """
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=make_sampler(0))
    for params in first:
        study.enqueue_trial(dict(params))
    running: list[tuple[optuna.Trial, list[float]]] = []
    started, best = 0, 0.0
    while started < trials or running:
        while started < trials and len(running) < workers:
            study.sampler = make_sampler(started)
            trial = study.ask()
            task.suggest(trial)
            running.append((trial, task.curve(trial.params)))
            started += 1
        for trial, curve in list(running):
            step = (trial.storage.get_trial(trial._trial_id).last_step or 0) + 1
            trial.report(curve[step - 1], step)
            if step == len(curve):
                study.tell(trial, max(curve))
                best = max(best, max(curve))
            elif trial.number >= len(first) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                continue
            running.remove((trial, curve))
    return best


def searches(task: RecordedTask, trials: int, seed: int) -> dict[str, float]:
    """The best value of every way to search, with one seed."""

    def ours(ordinal: int) -> BaseSampler:
        return SAMPLERS["tpe"](trial_seed(seed, ordinal), {})

    def own(sampler: BaseSampler) -> MakeSampler:
        return lambda ordinal: sampler

    def pruner() -> BasePruner:
        return PRUNERS[DEFAULT_PRUNER](task.max_steps)

    starts = good_starts(task.model, DEFAULT_EPOCHS[task.model])
    tpe = TPESampler(seed=seed)
    none = optuna.pruners.NopPruner()
    return {
        "ours": search(task, ours, pruner(), trials=trials, first=starts),
        f"ours, {WORKERS} workers": search(
            task, ours, pruner(), trials=trials, first=starts, workers=WORKERS
        ),
        "ours, no good starts": search(task, ours, pruner(), trials=trials),
        "Optuna's default": search(task, own(tpe), MedianPruner(), trials=trials),
        "random, twice": search(task, own(RandomSampler(seed=seed)), none, trials=2 * trials),
    }


def compare(report: Report, tasks: list[RecordedTask], *, trials: int, seeds: int) -> None:
    """All ways on all tasks; regrets in points."""
    rows, medians = [], []
    for task in tasks:
        with ProcessPoolExecutor(initializer=_be_quiet) as pool:
            found = list(pool.map(partial(searches, task, trials), range(seeds)))
        top = max(max(one.values()) for one in found)
        regrets = {way: [100 * (top - one[way]) for one in found] for way in found[0]}
        medians.append({way: statistics.median(values) for way, values in regrets.items()})
        report.content.setdefault("regrets", {})[task.name] = regrets
        rows.append([task.name, *(Spread.of(values).text(2) for values in regrets.values())])
        print(" ".join(rows[-1]), flush=True)
    header = ["task", *medians[0]]
    report.table(f"Regret in points, {trials} trials, median of {seeds} seeds", header, rows)
    mean = {way: statistics.mean(median[way] for median in medians) for way in medians[0]}
    ours = mean["ours"]
    for rival in ("random, twice", "Optuna's default"):
        figures = f"{ours:.2f} to {mean[rival]:.2f} points"
        report.add(verdict(f"ours regrets no more than {rival}", ours <= mean[rival], figures))
    several = mean[f"ours, {WORKERS} workers"]
    target = f"{WORKERS} workers regret at most {TARGET_LOSS:.0%} more than one"
    figures = f"{several:.2f} to {ours:.2f} points"
    report.add(verdict(target, several <= (1 + TARGET_LOSS) * ours, figures))


def _be_quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _recordings(arguments: argparse.Namespace) -> list[Path]:
    folder: Path = arguments.out / "bench"
    whole = sorted(folder.glob("curves-*-*.json"))
    return whole or sorted(folder.glob("curves-*.json"))


def main() -> None:
    """Search every recorded task, print the table, write the files."""
    parser = options(__doc__, quick="3 seeds, 30 trials")
    arguments = parser.parse_args()
    recordings = map(Curves.load, _recordings(arguments))
    # Of some in the repository the configurations are left out, which a replay does without.
    tasks = [RecordedTask(each) for each in recordings if each.curves[0].params]
    if not tasks:
        parser.exit(0, "skipped: no curves yet, run python -m benchmarks.pruning first\n")
    report = Report()
    trials, seeds = (30, 3) if arguments.quick else (TRIALS, SEEDS)
    compare(report, tasks, trials=trials, seeds=seeds)
    report.write(arguments)


if __name__ == "__main__":
    main()
