"""A stored study to one file: HTML that needs nothing else, or Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from data_utils.safe_text import for_markdown
from search.display.progress import make_progress
from search.errors import SearchError
from search.folders import check_writable, file_name, write_text
from search.options import DEFAULT_TOP
from search.results.opened import OpenedStudy, open_existing
from search.results.report.attempts import row
from search.results.report.charts import category_sizes, curves, history, seeds
from search.results.report.facts import Facts, check_reportable, collect, study_key
from search.results.report.formats import FILTERS, UNKNOWN, value
from search.results.report.leaderboard import Spread
from search.results.report.parameter_charts import parallel, slices
from search.results.report.pareto import pareto_charts
from search.results.report.summary import summarise
from search.times import ended

Format = Literal["html", "md"]

# Whose a report is; no text of a study's looks like it, as < is escaped in all of them.
_KEY = re.compile(r'<(?:meta name="study-key" content="|!-- study-key: )([\w.-]+)')


@dataclass(frozen=True)
class ReportOptions:
    """A report as the command line asks for it.

    Attributes:
        target: The file; None: reports/NAME.html or .md in the output folder, NAME-KEY where
            the report of another study of this name stands.
        seeds: New seeds for each of the best trials; 0: nothing is trained.
        top: How many of the best trials.
        data, vectors: Where the study's own are here, if elsewhere.
    """

    study_name: str | None
    storage_url: str | None
    out: Path
    target: Path | None
    format: Format
    seeds: int
    top: int
    data: str | None = None
    vectors: Path | None = None


def write_report(options: ReportOptions) -> Path:
    """Write the report; the file that it is in.

    Raises:
        SearchError: No such study, nothing to report, or the file cannot be written.
        DataError: The study's titles cannot be read.
    """
    if options.seeds < 0:
        raise SearchError(f"--seeds is {options.seeds}; give 0, to train nothing, or more")
    if options.top < 1:
        raise SearchError(f"--top is {options.top}; give a whole number from 1")
    with make_progress() as progress:
        opened = open_existing(
            options.study_name,
            options.storage_url,
            out=options.out,
            progress=progress,
            data=options.data,
            vectors=options.vectors,
        )
        check_reportable(opened)
        target = options.target or _usual_target(opened, options.format)
        check_writable(target)  # before minutes of training
        facts = collect(opened, top=options.top, seeds=options.seeds)
        progress.remark("drawing the report")
        text = render(facts, options.format)
    write_text(target, text)
    return target


def bring_up_to_date(opened: OpenedStudy) -> Path:
    """The study's page at its usual place, written unless it is younger than every trial.

    Nothing is trained for it: it has the new seeds of earlier reports, and no categories.

    Raises:
        SearchError: There is nothing to report, or the file cannot be written.
    """
    target = _usual_target(opened, "html")
    if not _is_current(target, opened):
        write_text(target, render(collect(opened, top=DEFAULT_TOP, seeds=0), "html"))
    return target


def render(facts: Facts, form: Format) -> str:
    """The report as a text."""
    environment = Environment(
        loader=PackageLoader("search.results.report", "."),
        autoescape=form == "html",
        finalize=None if form == "html" else _markdown,
        undefined=StrictUndefined,
        trim_blocks=False,
    )
    environment.filters |= {**FILTERS, "interval": _interval, "verbatim": Markup}
    loader = environment.loader
    assert loader is not None
    template = environment.get_template(f"report.{form}.j2")
    return template.render(
        facts=facts,
        summary=summarise(facts),
        charts=_charts(facts),
        best_row=row(facts.best),
        # All digits: they are what it takes to repeat it.
        best_params=[(name, str(found)) for name, found in facts.best.params.items()],
        importance_top=max(facts.importance.shares.values(), default=1.0) or 1.0,
        css=loader.get_source(environment, "report.css")[0] if form == "html" else "",
    )


def _charts(facts: Facts) -> dict[str, Any]:
    found = facts.categories
    return {
        "pareto": pareto_charts(facts.pareto),
        "seeds": seeds(facts),
        "history": history(facts),
        "slices": slices(facts),
        "parallel": parallel(facts),
        "curves": curves(facts),
        "categories": None if found is None else category_sizes(found.all),
    }


def _interval(spread: Spread) -> str:
    if spread.low is None or spread.high is None:
        return UNKNOWN
    return f"{value(spread.low)} to {value(spread.high)}"


def _markdown(found: Any) -> Any:
    """What a template prints, as Markdown that says just that: titles are anybody's text."""
    if not isinstance(found, str) or isinstance(found, Markup):
        return found
    return for_markdown(found)


def _usual_target(opened: OpenedStudy, form: Format) -> Path:
    """Named by the study; and by its key, where the report of another one stands."""
    folder, name = opened.folder.reports, file_name(opened.name)
    target = folder / f"{name}.{form}"
    if not target.exists() or _is_about(target, opened):
        return target
    return folder / f"{name}-{study_key(opened)}.{form}"


def _is_about(target: Path, opened: OpenedStudy) -> bool:
    """Whether a report is about this very study, and not about one of its name elsewhere."""
    text = _read(target)
    if key := _key_in(text):
        return key == study_key(opened)
    # Those of earlier versions say where their study is, and no more.
    return escape(opened.storage.display_url) in text.replace("\\", "")


def _key_in(text: str) -> str | None:
    found = _KEY.search(text)
    return None if found is None else found[1]


def _read(target: Path) -> str:
    try:
        return target.read_text("utf-8", errors="replace")
    except OSError as error:
        raise SearchError(
            f"{target} cannot be read ({error.strerror}): remove it, or give another with --to"
        ) from None


def _is_current(target: Path, opened: OpenedStudy) -> bool:
    if not target.exists() or _key_in(_read(target)) != study_key(opened):
        return False
    written = datetime.fromtimestamp(target.stat().st_mtime, UTC)
    return all((end := ended(trial)) is None or end < written for trial in opened.trials)
