"""The command that shows studies in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from search.commands.manage import Out, Storage
from search.folders import DEFAULT_OUT


def dashboard(
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8080,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. The dashboard asks nobody for a password."),
    ] = "127.0.0.1",
) -> None:
    """Serve optuna-dashboard: all studies of a storage, while they run and after."""
    from search.dashboard.server import serve
    from search.folders import OutputFolder

    folder = OutputFolder(out)

    def ready(address: str, storage: str) -> None:
        print(f"{storage} is shown at {address}; Ctrl-C ends it", flush=True)

    serve(
        storage or folder.storage_url,
        folder.dashboard_artifacts,
        host=host,
        port=port,
        ready=ready,
    )
