"""The command that makes a page of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from search.commands.manage import Out, Storage, Study
from search.commands.options import MOST, MOST_SEEDS, DataHere, VectorsHere
from search.folders import DEFAULT_OUT
from search.options import DEFAULT_TOP


def report(
    study: Study = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
    data: DataHere = None,
    vectors: VectorsHere = None,
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
            "0: train nothing, which leaves out seeds and categories.",
            max=MOST_SEEDS,
        ),
    ] = 3,
    top: Annotated[int, typer.Option(help="How many of the best trials.", max=MOST)] = DEFAULT_TOP,
) -> None:
    """Write a page about a study: what it found, how sure that is, what it cost."""
    from search.results.report.writing import ReportOptions, write_report

    options = ReportOptions(
        study_name=study,
        storage_url=storage,
        out=out,
        data=data,
        vectors=vectors,
        target=to,
        format=format,
        seeds=seeds,
        top=top,
    )
    typer.echo(write_report(options))
