"""What ``show`` prints: a study or one of its trials in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.display.console import table
from search.display.status import states_text, value_text
from search.display.summary import describe_params, print_front


def print_study(console: Console, study: Mapping[str, Any]) -> None:
    """The study's settings, its space, and the best trials. Takes ``study_details``."""
    budget = study["n_trials"]
    facts = {
        "made by": study["made_by"],
        "trials": states_text(study["trials"]),
        "budget": None if budget is None else f"{budget} trials COMPLETE or PRUNED",
        "over the limits": study.get("over_limits"),
        "first trial started": study["started"],
        "last trial ended": study["last_ended"],
        **_flat(study["settings"]),
    }
    console.print(_facts(f"Study {study['name']}", facts))
    if study["space"]:
        rows = table("\nSearch space", "parameter", "values")
        for name, values in study["space"].items():
            rows.add_row(Text(name), Text(values))
        console.print(rows)
    if study["leaders"]:
        console.print(_leaders(study["leaders"]))
    if front := study.get("pareto_front"):
        print_front(console, front)


def print_trial(console: Console, trial: Mapping[str, Any]) -> None:
    """The trial's configuration, attempts and curve. Takes ``trial_details``."""
    values = trial["values"]
    facts = {
        "state": trial["state"],
        "value": None if values is None else ", ".join(f"{value:.4f}" for value in values),
        "baseline": trial["baseline"],
        "worker": trial["worker"],
        "started": trial["started"],
        "ended": trial["ended"],
        "seconds": trial["seconds"],
        **{
            key: trial["attributes"][key]
            for key in sorted(trial["attributes"].keys() - {"seconds"})
        },
    }
    title = f"Trial {trial['number']} of study {trial['study']}"
    console.print(_facts(title, facts))
    console.print(_facts("\nConfiguration", trial["params"]))
    console.print(_attempts(trial["attempts"]))
    if trial["curve"]:
        console.print(_curve(trial["curve"]))
    if trial["error"]:
        console.print(Text(f"\n{trial['error'].rstrip()}", style="red"))


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    rows = table(title, "", "")
    for name, value in facts.items():
        if value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            shown = shown if isinstance(shown, Text) else Text(str(shown))
            rows.add_row(Text(name), shown)
    return rows


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings on one level; what was left at "nothing asked for" is left out."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value not in (None, (), []):
            listed = isinstance(value, list | tuple)
            flat[f"{prefix}{name}"] = ", ".join(map(str, value)) if listed else value
    return flat


def _leaders(leaders: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("trial", "value", "epochs", "seconds", "configuration")
    rows = table("\nBest trials", *columns, right=columns[:4])
    for trial in leaders:
        epochs, seconds = trial["epochs"], trial["seconds"]
        baseline = trial["baseline"]
        rows.add_row(
            str(trial["number"]),
            value_text(trial["value"]),
            "" if epochs is None else f"{epochs:.2f}",
            "" if seconds is None else f"{seconds:.1f}",
            Text(f"baseline: {baseline}" if baseline else describe_params(trial["params"])),
        )
    return rows


def _attempts(attempts: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("trial", "attempt", "state", "worker", "steps", "seconds", "why it ended")
    rows = table(
        "\nAttempts at this configuration", *columns, right=("trial", "attempt", "seconds")
    )
    for attempt in attempts:
        first = (attempt["resumed_from"] or 0) + 1
        last, seconds = attempt["last_step"], attempt["seconds"]
        rows.add_row(
            str(attempt["trial"]),
            str(attempt["attempt"]),
            attempt["state"],
            Text(attempt["worker"] or ""),
            "none" if last is None or last < first else f"{first} to {last}",
            "" if seconds is None else f"{seconds:.1f}",
            Text(attempt["fail_reason"] or ""),
        )
    return rows


def _curve(curve: Iterable[Mapping[str, Any]]) -> Table:
    rows = table("\nEvaluations", "step", "epoch", "value", right=("step", "epoch", "value"))
    for point in curve:
        epoch = "" if point["epoch"] is None else f"{point['epoch']:g}"
        rows.add_row(str(point["step"]), epoch, f"{point['value']:.4f}")
    return rows
