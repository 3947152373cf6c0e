"""What ``list`` and ``status`` print."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.display.console import ago, table
from search.display.live import STATE_STYLES
from search.display.progress import clock
from search.display.summary import describe_params
from search.limits import described
from search.results.listing import OURS, ListedStudy
from search.results.status import RunningTrial, StudyStatus

_STATES = ("COMPLETE", "PRUNED", "RUNNING", "WAITING", "FAIL")


def print_list(console: Console, studies: Sequence[ListedStudy], *, where: str) -> None:
    """A line for each study, or one that says that there is none."""
    if not studies:
        console.print(f"no studies in {where}", markup=False, highlight=False)
        return
    columns = ("study", "model", "data", "done", "trials", "best", "last activity", "")
    rows = table("", *columns, right=("done", "best", "last activity"))
    now = datetime.now(UTC)
    for study in studies:
        last = study.last_activity
        done = study.trials.get("COMPLETE", 0) + study.trials.get("PRUNED", 0)
        rows.add_row(
            Text(study.name),
            str(study.settings.get("model", "")),
            Text(str(study.settings.get("data_name", ""))),
            f"{done}" if study.n_trials is None else f"{done} of {study.n_trials}",
            states_text(study.trials),
            value_text(study.best_value),
            "never" if last is None else ago((now - last).total_seconds()),
            "" if study.made_by == OURS else f"made by {study.made_by}",
        )
    console.print(rows)


def print_status(console: Console, status: StudyStatus) -> None:
    """Counts, the best trial, the time left, and each worker with its trial."""
    budget = "" if status.n_trials is None else f" of {status.n_trials}"
    head = Text.assemble("Study ", (status.name, "bold"), f": {status.done}{budget} trials done (")
    console.print(Text.assemble(head, states_text(status.trials), ")"))
    if status.best is not None:
        best = status.best
        line = Text.assemble("Best: trial ", str(best.number), " with ", value_text(best.value))
        if status.front:
            numbers = ", ".join(map(str, status.front))
            line.append(f" balanced accuracy; on the Pareto front: {numbers}")
        console.print(line)
        console.print(Text(f"  {describe_params(best.params)}", style="dim"))
    elif status.limits and status.trials.get("PRUNED"):
        console.print("No trial within the limits has been completed yet")
    if status.limits:
        console.print(f"Limits: {described(status.limits)}", highlight=False)
    console.print(Text(_time_line(status)))
    if status.running:
        console.print(_workers(status.running))


def states_text(trials: dict[str, int]) -> Text:
    """``12 COMPLETE, 19 PRUNED``: the states that occur."""
    parts = [
        Text(f"{trials[state]} {state}", style=STATE_STYLES.get(state, ""))
        for state in _STATES
        if trials.get(state)
    ]
    return Text(", ").join(parts) if parts else Text("no trials")


def value_text(value: float | None) -> Text:
    """A value of the objective with four digits."""
    return Text("") if value is None else Text(f"{value:.4f}", style="bold green")


def _time_line(status: StudyStatus) -> str:
    stale = len(status.running) - status.workers_alive
    parts = []
    if status.n_trials is not None and status.done >= status.n_trials:
        parts.append("finished: the budget is used up")
    elif status.held:
        parts.append(status.held)
    elif status.exhausted:
        parts.append("every configuration has been tried")
    elif status.deadline_seconds is not None and status.deadline_seconds <= 0:
        parts.append("the time is over")
    elif not status.workers_alive:
        parts.append("nobody is working on it: the command that started it goes on")
    elif status.left_seconds is not None:
        parts.append(f"about {clock(status.left_seconds)} left")
    else:
        parts.append("too early to say how long it will take")
    if status.deadline_seconds is not None and status.deadline_seconds > 0:
        parts.append(f"its time ends in {clock(status.deadline_seconds)}")
    if stale:
        parts.append(f"{stale} stale: the next worker to look gives such a trial to another")
    return "; ".join(parts)


def _workers(running: Sequence[RunningTrial]) -> Table:
    columns = ("worker", "trial", "at", "value", "last sign of life", "")
    rows = table("Workers", *columns, right=("trial", "value", "last sign of life"))
    for trial in running:
        rows.add_row(
            Text(trial.worker or "unknown"),
            f"{trial.number}"
            if trial.attempt == 1
            else f"{trial.number}, attempt {trial.attempt}",
            _place(trial),
            value_text(trial.value),
            ago(trial.silent_seconds),
            Text("stale", style="red") if trial.stale else "",
        )
    return rows


def _place(trial: RunningTrial) -> str:
    if trial.step is None:
        return "no evaluation yet"
    if trial.epoch is None:
        return f"step {trial.step}"
    return f"epoch {trial.epoch:g} of {trial.max_epochs}, step {trial.step}"
