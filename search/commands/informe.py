"""The command that repeats the students' experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_utils.spec import DataSpec
from search.commands.options import (
    MOST_SEEDS,
    OUTPUT,
    Data,
    Device,
    Dim,
    LabelColumn,
    Language,
    Level,
    MinRows,
    Out,
    Quiet,
    Sample,
    Storage,
    TextColumn,
    TrackingUri,
    Vectors,
    Workers,
)
from search.errors import SearchError
from search.folders import DEFAULT_OUT
from search.options import SearchOptions


def informe(
    models: Annotated[str, typer.Option(help="Whose experiments: mlp, cnn or both.")] = "mlp,cnn",
    epochs: Annotated[
        int | None,
        typer.Option(help="Cut runs to this many epochs; their figures then have no match."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Trainings of each experiment.", min=1, max=MOST_SEEDS)
    ] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    study: Annotated[
        str, typer.Option(help="Beginning of the studies' names, STUDY-MODEL-DATA.")
    ] = "informe",
    storage: Storage = None,
    data: Data = "sat",
    level: Level = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    language: Language = None,
    min_rows: MinRows = None,
    sample: Sample = None,
    vectors: Vectors = None,
    dim: Dim = None,
    workers: Workers = 1,
    device: Device = "auto",
    out: Out = DEFAULT_OUT,
    tracking_uri: TrackingUri = None,
    format: Annotated[
        Literal["text", "md", "json"], typer.Option(help="Of the table.", rich_help_panel=OUTPUT)
    ] = "text",
    to: Annotated[
        Path | None,
        typer.Option(help="File for the table [default: none, print it].", rich_help_panel=OUTPUT),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Repeat the students' experiments and set our figures beside theirs."""
    chosen = models.split(",")
    if not set(chosen) <= {"mlp", "cnn"} or len(set(chosen)) < len(chosen):
        raise SearchError(f"--models is {models!r}; give mlp, cnn or mlp,cnn")
    options = SearchOptions(
        model=chosen[0],
        n_trials=None,
        timeout_seconds=None,
        study_name=None,
        storage_url=storage,
        sampler="random",
        pruner="none",
        max_epochs=epochs,
        seed=seed,
        data=DataSpec(
            source=data,
            level=level,
            text_column=text_column,
            label_column=label_column,
            language=language,
            min_rows=min_rows,
            sample=sample,
        ),
        vectors=vectors,
        embedding_dim=dim,
        num_workers=workers,
        device=device,
        out=out,
        tracking_uri=tracking_uri,
        quiet=quiet,
        json=False,
    )
    from search.display.informe import show_informe

    done = show_informe(options, chosen, prefix=f"{study}-", num_seeds=seeds, format=format, to=to)
    raise typer.Exit(0 if done else 130)
