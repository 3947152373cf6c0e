"""``--dry-run``: the data, the search space and the plan, without a trial."""

from __future__ import annotations

from collections import Counter

import optuna
from rich.table import Table

from data_utils import PreparedData, prepare
from data_utils.emptied import describe_emptied
from search.configurations import distributions, spelled, values_of
from search.display.categories import missing_categories
from search.display.console import SafeConsole
from search.display.progress import make_progress
from search.folders import OutputFolder
from search.limits import check_reachable, described
from search.options import SearchOptions
from search.spaces import EVALUATIONS_PER_EPOCH
from search.study import BASELINE_ATTR, START_ATTR, WARM_START_ATTR, first_trials
from search.warm_start import Taken, starting_with, take_best


def print_plan(options: SearchOptions) -> None:
    """Prepare the data and print what a search with these options would do.

    Raises:
        SearchError, DataError: As the search itself would.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.check()
    width = options.vectors_width
    taken = take_best(options)
    folder = OutputFolder(options.out)
    folder.create()
    with make_progress(quiet=options.quiet, json_lines=options.json) as progress:
        prepared = prepare(options.data, folder.cache, progress=progress.preparing)
        if note := describe_emptied(prepared, options.data.cleaning):
            progress.message(note)
    check_reachable(options.limits, vocabulary_size=len(prepared.vocabulary), embedding_dim=width)
    console = SafeConsole()
    console.print(_data_table(prepared))
    console.print(_space_table(options))
    console.print(_plan(options, taken))


def _data_table(prepared: PreparedData) -> Table:
    table = Table(title=f"Data: {prepared.name}", title_justify="left", show_header=False)
    table.add_row("fingerprint", prepared.fingerprint)
    for name, value in prepared.summary.items():
        if value not in (None, {}, []):
            table.add_row(name.replace("_", " "), _shown(value))
    for name, categories in missing_categories(prepared):
        table.add_row(name, categories)
    return table


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _space_table(options: SearchOptions) -> Table:
    fixed = options.fixed_params
    table = Table(title=f"Search space: {options.model}", title_justify="left")
    table.add_column("parameter")
    table.add_column("values")
    beside = tuple(sorted(fixed.items()))
    for name, distribution in distributions(options.model, options.epochs, beside).items():
        log = ", logarithmic" if getattr(distribution, "log", False) else ""
        values = values_of(distribution) + log
        if name in fixed:
            values = f"{spelled({name: fixed[name]}).partition('=')[2]}, fixed by --set"
        table.add_row(name, values)
    return table


def _plan(options: SearchOptions, taken: Taken | None) -> str:
    count = options.budget
    trials = "1 trial" if count == 1 else f"{count} trials"
    return (
        f"Plan: {trials}, {_first(options, taken)}; "
        f"sampler {options.sampler}, pruner {options.pruner}; at most {options.epochs} epochs "
        f"a trial with {EVALUATIONS_PER_EPOCH} evaluations each"
        + (f"; objectives {', '.join(options.objectives)}" if len(options.objectives) > 1 else "")
        + (f"; limits: {described(options.limits)}" if options.limits else "")
        + (f"\nThe study {taken.describe()}" if taken is not None else "")
    )


def _first(options: SearchOptions, taken: Taken | None) -> str:
    if options.is_single:
        return "of the one configuration that --set leaves"
    if options.sampler == "grid":
        return "every point of the grid in turn"
    own = first_trials(
        options.model, options.epochs, sampler=options.sampler, fixed=options.fixed_params
    )
    first = starting_with(taken, own)[: options.budget]
    kinds = Counter(name for _, attributes in first for name in attributes)
    parts = []
    if count := kinds[WARM_START_ATTR]:
        parts.append(f"{count} from another study")
    if count := kinds[START_ATTR]:
        parts.append(f"{count} good start{'s' if count > 1 else ''}")
    if count := kinds[BASELINE_ATTR]:
        parts.append(f"{count} baseline{'s' if count > 1 else ''}")
    return "first " + ", then ".join(parts)
