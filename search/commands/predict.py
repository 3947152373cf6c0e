"""The command that uses an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def predict(
    model: Annotated[Path, typer.Option(help="Folder that `export` wrote.")],
    titles: Annotated[
        list[str] | None,
        typer.Argument(help="Titles [default: those of --input, or standard input]."),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(
            help="A file: text with a title a line, CSV, JSON lines or Parquet; plain, gz, bz2 "
            "or xz; '-' is standard input."
        ),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the titles [default: title].")
    ] = None,
    format: Annotated[
        Literal["text", "csv", "jsonl"], typer.Option(help="Form of the output.")
    ] = "text",
    top: Annotated[int, typer.Option(help="Categories a title, the most probable first.")] = 1,
    to: Annotated[
        Path | None, typer.Option(help="File to write [default: standard output].")
    ] = None,
) -> None:
    """Predict the categories of titles with an exported model."""
    from prediction.run import PredictOptions, run_predict

    options = PredictOptions(
        model=model,
        titles=tuple(titles or ()),
        source=input,
        text_column=text_column,
        form=format,
        top=top,
        to=to,
    )
    raise typer.Exit(run_predict(options))
