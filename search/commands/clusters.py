"""Commands for fleets of workers on many machines."""

from __future__ import annotations

from typing import Annotated

import typer


def proxy(
    storage: Annotated[
        str,
        typer.Option(envvar="STORAGE_URL", help="Database to serve: as for the search."),
    ],
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. The proxy asks nobody for a password."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 13000,
) -> None:
    """Serve a database to many workers, which join with --storage grpc://HOST:PORT."""
    from search.storage.proxy import serve

    def ready(address: str, database: str) -> None:
        print(f"{database} is served at {address}; Ctrl-C ends it", flush=True)

    serve(storage, host=host, port=port, ready=ready)
