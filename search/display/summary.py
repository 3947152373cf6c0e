"""What a search prints when it ends: the best trials, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.display.console import table
from search.display.limits import baselines_over, limits_line
from search.objectives import by_accuracy, leaders
from search.results.details import front_rows
from search.storage.budget import N_TRIALS
from search.study import BASELINE_ATTR, limits_in

_SHOWN = 10


def print_summary(
    console: Console, study: optuna.Study, *, report: Path | None = None, next_commands: list[str]
) -> None:
    """Print the leaderboard, the best trial against the baselines, and the next commands.

    With several objectives the Pareto front takes the place of the leaderboard.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    best = [by_accuracy(trial) for trial in leaders(finished)]
    limits = limits_in(study)
    console.print(_states_line(study.study_name, trials))
    if best:
        if front := front_rows(study):
            print_front(console, front)
        else:
            console.print(_leaderboard(best[:_SHOWN]))
        console.print(_against_baselines(best))
    elif limits:
        console.print("Best: none, for no trial within the limits has been completed")
    if limits:
        print_limits(console, trials, limits)
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True, markup=False, highlight=False)
    for trial in trials:
        if trial.state == TrialState.FAIL and "error" in trial.user_attrs:
            last_line = str(trial.user_attrs["error"]).strip().splitlines()[-1]
            console.print(f"trial {trial.number} failed: {last_line}", style="red", markup=False)
    console.print("\nNext:")
    n_trials = study.user_attrs.get(N_TRIALS)
    if n_trials is not None and len(finished) < n_trials:
        console.print(f"  the same command runs the missing {n_trials - len(finished)} trials")
    for command in next_commands:
        # soft_wrap: a command that the console breaks in two cannot be copied.
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)


def print_limits(
    console: Console, trials: Sequence[FrozenTrial], limits: Mapping[str, float]
) -> None:
    """The limits, how many trials were over them, and which baselines."""
    console.print(f"Limits: {limits_line(trials, limits)}", highlight=False)
    for number, name, why in baselines_over(trials):
        console.print(Text(f"  trial {number}, baseline: {name}: {why}", style="dim"))


def _states_line(study_name: str, trials: list[FrozenTrial]) -> str:
    counts = Counter(t.state.name for t in trials)
    parts = [f"{counts[s]} {s}" for s in ("COMPLETE", "PRUNED", "FAIL", "WAITING") if counts[s]]
    return f"\nStudy {study_name}: {', '.join(parts) or 'no trials'}"


def _leaderboard(ranked: list[FrozenTrial]) -> Table:
    table = Table(title="Best trials by validation balanced accuracy", title_justify="left")
    for column in ("trial", "balanced accuracy", "epochs", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("configuration")
    for trial in ranked:
        table.add_row(
            str(trial.number),
            f"{trial.value:.4f}",
            f"{trial.user_attrs.get('epochs', float('nan')):.2f}",
            f"{trial.user_attrs.get('seconds', float('nan')):.1f}",
            _describe(trial),
        )
    return table


def print_front(console: Console, front: Sequence[Mapping[str, Any]]) -> None:
    """The Pareto front, at least one trial; takes ``front_rows``."""
    metrics = tuple(front[0]["values"])
    title = f"\nPareto front: {len(front)} that no trial beats in everything"
    rows = table(title, "trial", *metrics, "configuration", right=("trial", *metrics))
    for trial in front:
        baseline = trial["baseline"]
        rows.add_row(
            str(trial["number"]),
            *(f"{value:.4f}" for value in trial["values"].values()),
            Text(f"baseline: {baseline}" if baseline else describe_params(trial["params"])),
        )
    console.print(rows)


def describe_params(params: Mapping[str, Any]) -> str:
    """A configuration on one line, for people: the widths of the hidden layers as one list."""
    parts = []
    for name, value in params.items():
        if name == "num_layers":
            widths = [params[f"hidden_size_{layer}"] for layer in range(1, value + 1)]
            parts.append(f"hidden={'-'.join(map(str, widths)) or 'none'}")
        elif not name.startswith("hidden_size_"):
            parts.append(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(parts)


def _describe(trial: FrozenTrial) -> str:
    baseline = trial.user_attrs.get(BASELINE_ATTR)
    return f"baseline: {baseline}" if baseline else describe_params(trial.params)


def _against_baselines(ranked: list[FrozenTrial]) -> str:
    best = ranked[0]
    baselines = [t for t in ranked if BASELINE_ATTR in t.user_attrs]
    line = f"Best: trial {best.number} with {best.value:.4f}"
    if not baselines:
        return line
    value = baselines[0].value or 0.0
    return (
        f"{line}; best baseline: trial {baselines[0].number} with {value:.4f} "
        f"({100 * ((best.value or 0.0) - value):+.1f} points)"
    )
