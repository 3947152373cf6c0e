"""Commands that look at stored studies, move and remove them."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from search.errors import SearchError
from search.folders import DEFAULT_OUT

Study = Annotated[
    str | None, typer.Option(help="Name of the study [default: the only one there].")
]
Storage = Annotated[
    str | None,
    typer.Option(envvar="STORAGE_URL", help="Where the study is [default: OUT/optuna.db]."),
]
Out = Annotated[Path, typer.Option(help="Folder of the studies.")]
Json = Annotated[bool, typer.Option("--json", help="A JSON document instead of text.")]


def list_(storage: Storage = None, out: Out = DEFAULT_OUT, json: Json = False) -> None:
    """List the studies of a storage: model, data, trials, best value, last activity."""
    from search.display.console import console, print_json
    from search.display.status import print_list
    from search.results.finding import find_storage
    from search.results.listing import list_studies

    with closing(find_storage(storage, out=out)) as opened:
        studies = list_studies(opened)
    if json:
        print_json([study.as_json() for study in studies])
    else:
        print_list(console(), studies, where=opened.display_url)


def status(
    study: Study = None, storage: Storage = None, out: Out = DEFAULT_OUT, json: Json = False
) -> None:
    """Say how a study stands: trials, the best, time left, and what each worker does."""
    from search.display.console import console, print_json
    from search.display.status import print_status
    from search.results.finding import find_storage, find_study
    from search.results.status import read_status

    with closing(find_storage(storage, out=out)) as opened:
        found = read_status(opened, find_study(opened, study))
    if json:
        print_json(found.as_json())
    else:
        print_status(console(), found)


def show(
    study: Study = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of a trial to show in full.", min=0)
    ] = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
    json: Json = False,
) -> None:
    """Show a study's settings, space and best trials, or one of its trials in full."""
    from search.display.console import console, print_json
    from search.display.details import print_study, print_trial
    from search.results.details import study_details, trial_details
    from search.results.finding import find_storage, find_study

    with closing(find_storage(storage, out=out)) as opened:
        found = find_study(opened, study)
        details = study_details(found) if trial is None else trial_details(found, trial)
    if json:
        print_json(details)
    elif trial is None:
        print_study(console(), details)
    else:
        print_trial(console(), details)


def copy(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    to: Annotated[
        str,
        typer.Option(
            envvar="TO_STORAGE_URL",
            help="Where to: sqlite:///FILE or postgresql+psycopg://USER@HOST/DB.",
        ),
    ],
    new_name: Annotated[
        str | None,
        typer.Option("--as", help="Name of the copy, which is then a study of its own."),
    ] = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Copy a study to another storage, whole and checked, or not at all."""
    from search.folders import OutputFolder
    from search.results.copying import read_study, write_study
    from search.results.finding import find_storage
    from search.results.own_files import own_files
    from search.storage.opening import open_database

    with closing(find_storage(storage, out=out)) as source:
        rows = read_study(source, study, new_name)
    with (
        closing(open_database(to)) as target,  # by now: what fails leaves no empty database
        own_files(rows, OutputFolder(out).dashboard_artifacts) as rows,
    ):
        write_study(rows, target)
    print(
        f"copied study {study} with {len(rows.trials)} trials to {target.display_url} as "
        f"{rows.name}; read back and found equal"
    )


def delete(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if workers are at it, who then end.")
    ] = False,
) -> None:
    """Delete a study, its checkpoints and its pictures, after asking."""
    from search.results.deletion import delete_study, refuse_deletion
    from search.results.finding import find_storage, find_study

    with closing(find_storage(storage, out=out)) as opened:
        found = find_study(opened, study)
        if not force:
            refuse_deletion(opened, found)  # before asking
        if not yes:
            _ask(f"Delete study {study} and its trials from {opened.display_url}?")
        delete_study(opened, found, out=out, force=force)
    print(
        f"deleted study {study}, its checkpoints and its pictures for the dashboard; left alone: "
        f"prepared data and word vectors in {out / 'cache'}, and runs in MLflow"
    )


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise SearchError("there is no terminal to ask on: give --yes to delete the study")
    if not typer.confirm(question):
        print("nothing was deleted")
        raise typer.Exit(1)
