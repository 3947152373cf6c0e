"""The command that sets two configurations against each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import MOST_SEEDS, DataHere, VectorsHere
from search.folders import DEFAULT_OUT


def compare(
    a: Annotated[str, typer.Argument(help="A study, for its best trial, or STUDY:TRIAL.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    seeds: Annotated[
        int,
        typer.Option(
            help="New seeds to train both with; what is trained is kept. "
            "With fewer than 6 the test cannot tell the two apart.",
            max=MOST_SEEDS,
        ),
    ] = 6,
    storage: Annotated[
        str | None,
        typer.Option(envvar="STORAGE_URL", help="Where A is [default: OUT/optuna.db]."),
    ] = None,
    storage_b: Annotated[
        str | None, typer.Option(help="Where B is [default: where A is].")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of studies and caches.")] = DEFAULT_OUT,
    data: DataHere = None,
    vectors: VectorsHere = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON document instead of text.")] = False,
) -> None:
    """Compare the best of two studies, or two trials, by training both with the same seeds."""
    from search.display.comparison import print_comparison
    from search.display.console import console, print_json
    from search.display.progress import make_progress
    from search.results.comparison import compare as compare_sides
    from search.results.sides import open_side

    with make_progress(quiet=quiet) as progress:
        opening = partial(
            open_side, out=out, device=device, progress=progress, data=data, vectors=vectors
        )
        side_a = opening(a, storage)
        side_b = opening(b, storage_b or storage, other=side_a.opened)
        found = compare_sides(side_a, side_b, num_seeds=seeds)
    if json:
        print_json(found.as_json())
    else:
        print_comparison(console(), side_a, side_b, found)
