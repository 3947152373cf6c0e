"""The command that repeats the students' experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_utils.spec import DataSpec
from search.errors import SearchError
from search.options import SearchOptions

DATA, OUTPUT = "Data", "Machine and output"


def informe(
    models: Annotated[str, typer.Option(help="Whose experiments: mlp, cnn or both.")] = "mlp,cnn",
    epochs: Annotated[
        int | None,
        typer.Option(help="Cut runs to this many epochs; their figures then have no match."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each experiment.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    study: Annotated[
        str, typer.Option(help="Beginning of the studies' names, STUDY-MODEL-DATA.")
    ] = "informe",
    storage: Annotated[
        str | None,
        typer.Option(envvar="STORAGE_URL", help="As for a search [default: OUT/optuna.db]."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="As for a search: 'sat', a file or a folder.", rich_help_panel=DATA)
    ] = "sat",
    level: Annotated[
        Literal["family", "segment"] | None,
        typer.Option(help="Categories of --data sat.", rich_help_panel=DATA),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the titles.", rich_help_panel=DATA)
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of the categories.", rich_help_panel=DATA)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Keep titles of this language.", rich_help_panel=DATA)
    ] = None,
    min_rows: Annotated[
        int | None,
        typer.Option(help="Leave out categories with fewer rows.", rich_help_panel=DATA),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Take a fixed random sample.", rich_help_panel=DATA)
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="Word vectors [default: of the train titles].", rich_help_panel=DATA),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Width of the word vectors.", rich_help_panel=DATA)
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes on this machine.", rich_help_panel=OUTPUT)
    ] = 1,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=OUTPUT)
    ] = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for studies, runs and caches.", rich_help_panel=OUTPUT)
    ] = Path("runs"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI", help="As for a search.", rich_help_panel=OUTPUT
        ),
    ] = None,
    format: Annotated[
        Literal["text", "md", "json"], typer.Option(help="Of the table.", rich_help_panel=OUTPUT)
    ] = "text",
    to: Annotated[
        Path | None,
        typer.Option(help="File for the table [default: none, print it].", rich_help_panel=OUTPUT),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress.", rich_help_panel=OUTPUT)
    ] = False,
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
