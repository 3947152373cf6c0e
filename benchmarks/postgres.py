"""A PostgreSQL server of the benchmarks' own, with the settings that it is installed with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.processes import free_port


@contextmanager
def running_server(*, max_connections: int = 100) -> Iterator[Callable[[], str] | None]:
    """A server on a free port of this machine, as a function that makes an empty database.

    It is called for the URL of each database. None if PostgreSQL is not installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield None
        return
    programs = found[-1].parent
    # Below /tmp: the server refuses to run as root, and its user may not enter other folders.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = "postgres" if os.geteuid() == 0 else None
    port = free_port()

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def new_database() -> str:
        name = f"study_{uuid.uuid4().hex[:12]}"
        where = f"postgresql://bench@127.0.0.1:{port}"
        with psycopg.connect(f"{where}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{where.replace('postgresql', 'postgresql+psycopg')}/{name}"

    if user:
        shutil.chown(folder, user)
    try:
        run("initdb", "-A", "trust", "-U", "bench")
        listen = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        listen += f" -c max_connections={max_connections}"
        run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", listen)
        try:
            yield new_database
        finally:
            run("pg_ctl", "stop", "-w", "-m", "fast")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
