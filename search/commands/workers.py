"""Commands of those who run a study's workers themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import DataHere, VectorsHere
from search.folders import DEFAULT_OUT


def worker(
    study: Annotated[str, typer.Option(help="Name of the study to join.")],
    storage: Annotated[
        str | None,
        typer.Option(envvar="STORAGE_URL", help="As for the search that started it."),
    ] = None,
    data: DataHere = None,
    vectors: VectorsHere = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for caches and checkpoints; shared, if it can be.")
    ] = DEFAULT_OUT,
    tracking_uri: Annotated[
        str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="As for the search.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the study if it is not there yet.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Progress as JSON lines.")] = False,
    key: Annotated[
        str | None, typer.Option(hidden=True, help="Set by a launch: which study of this name.")
    ] = None,
) -> None:
    """Join a running study, from this machine or another."""
    from search.join import JoinOptions, join_study

    options = JoinOptions(
        study_name=study,
        storage_url=storage,
        data=data,
        vectors=vectors,
        device=device,
        out=out,
        tracking_uri=tracking_uri,
        wait=wait,
        quiet=quiet,
        json=json,
        key=key,
    )
    raise typer.Exit(join_study(options))


def init(
    storage: Annotated[
        str, typer.Option(envvar="STORAGE_URL", help="Database in which to create the tables.")
    ],
) -> None:
    """Create the tables of a storage, so that dashboards and workers find them."""
    from search.storage.opening import create_tables

    create_tables(storage)
