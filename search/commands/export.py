"""The command that takes a model out of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.commands.manage import Out, Storage, Study
from search.commands.options import MOST, MOST_SEEDS, DataHere, VectorsHere
from search.folders import DEFAULT_OUT


def export(
    study: Study = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
    data: DataHere = None,
    vectors: VectorsHere = None,
    top: Annotated[
        int,
        typer.Option(
            help="Choose among this many of the best trials by their mean over --seeds.", max=MOST
        ),
    ] = 1,
    trial: Annotated[int | None, typer.Option(help="Take this trial instead of choosing.")] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Train with this many seeds, to know the spread; 1 trains once.", max=MOST_SEEDS
        ),
    ] = 3,
    to: Annotated[
        Path | None, typer.Option(help="New folder to write [default: OUT/exports/STUDY].")
    ] = None,
    register: Annotated[
        str | None, typer.Option(help="Register it in MLflow under this name too.")
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow of --register [default: sqlite:///OUT/mlflow.db].",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train the best trial again, evaluate it on the test part, and write it as a folder."""
    from search.results.export import ExportOptions, run_export

    options = ExportOptions(
        study_name=study,
        storage_url=storage,
        out=out,
        data=data,
        vectors=vectors,
        top=top,
        trial=trial,
        seeds=seeds,
        to=to,
        register=register,
        tracking_uri=tracking_uri,
        device=device,
        quiet=quiet,
    )
    run_export(options)
