"""``--dry-run``: the data, the search space and the plan, without a trial."""

from __future__ import annotations

import optuna
from rich.console import Console
from rich.table import Table

from data_utils import PreparedData, prepare
from search.configurations import distributions, values_of
from search.display.progress import make_progress
from search.folders import OutputFolder
from search.options import SearchOptions
from search.spaces import (
    DEFAULT_DIM,
    DEFAULT_EPOCHS,
    EVALUATIONS_PER_EPOCH,
    Task,
    baselines,
)


def print_plan(options: SearchOptions) -> None:
    """Prepare the data and print what a search with these options would do.

    Raises:
        SearchError, DataError: As the search itself would.
    """
    options.check()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = OutputFolder(options.out)
    folder.create()
    with make_progress(quiet=options.quiet, json_lines=options.json) as progress:
        prepared = prepare(options.data, folder.cache, progress=progress.preparing)
    console = Console()
    console.print(_data_table(prepared))
    task = Task(
        vocabulary_size=len(prepared.vocabulary),
        embedding_dim=options.embedding_dim or DEFAULT_DIM,
        num_classes=len(prepared.labels),
        max_epochs=options.max_epochs or DEFAULT_EPOCHS[options.model],
        seed=options.seed,
    )
    console.print(_space_table(options.model, task))
    console.print(_plan(options, task))


def _data_table(prepared: PreparedData) -> Table:
    table = Table(title=f"Data: {prepared.name}", title_justify="left", show_header=False)
    table.add_row("fingerprint", prepared.fingerprint)
    for name, value in prepared.summary.items():
        if value not in (None, {}, []):
            table.add_row(name.replace("_", " "), _shown(value))
    return table


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _space_table(model: str, task: Task) -> Table:
    table = Table(title=f"Search space: {model}", title_justify="left")
    table.add_column("parameter")
    table.add_column("values")
    for name, distribution in distributions(model, task.max_epochs).items():
        log = ", logarithmic" if getattr(distribution, "log", False) else ""
        table.add_row(name, values_of(distribution) + log)
    return table


def _plan(options: SearchOptions, task: Task) -> str:
    if options.sampler == "grid":
        first = "every point of the grid in turn"
    else:
        count = min(len(baselines(options.model, task.max_epochs)), options.n_trials)
        first = f"the first {count} of them baselines, then a configuration that is a good start"
    return (
        f"Plan: {options.n_trials} trials, {first}; "
        f"sampler {options.sampler}, pruner {options.pruner}; at most {task.max_epochs} epochs "
        f"a trial with {EVALUATIONS_PER_EPOCH} evaluations each"
    )
