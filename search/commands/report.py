"""The command that makes a page of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def report(
    study: Annotated[
        str | None, typer.Option(help="Name of the study [default: the only one there].")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="STORAGE_URL", help="As for the search [default: sqlite:///OUT/optuna.db]."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of studies and caches.")] = Path("runs"),
    to: Annotated[
        Path | None,
        typer.Option(help="File to write [default: OUT/reports/STUDY.html, or .md]."),
    ] = None,
    format: Annotated[
        Literal["html", "md"], typer.Option(help="One HTML file with charts, or Markdown.")
    ] = "html",
    seeds: Annotated[
        int,
        typer.Option(
            help="New seeds to train each of the best trials with; kept for the next report. "
            "0: train nothing, which leaves out seeds and categories."
        ),
    ] = 3,
    top: Annotated[int, typer.Option(help="How many of the best trials.")] = 3,
) -> None:
    """Write a page about a study: what it found, how sure that is, what it cost."""
    from search.results.report.writing import ReportOptions, write_report

    options = ReportOptions(
        study_name=study,
        storage_url=storage,
        out=out,
        target=to,
        format=format,
        seeds=seeds,
        top=top,
    )
    typer.echo(write_report(options))
