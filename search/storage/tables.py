"""Optuna's tables in a database: looked for, and made once, by one process of many."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy.engine import URL, Engine

from search.errors import StorageError
from search.redaction import redact
from search.storage.connecting import engine_kwargs, text_of

# Any number: the one advisory lock under which tables are created.
_TABLES_LOCK = 7_253_081_906
# MLflow, too, keeps its schema's revision in a table of this name.
_FOREIGN = {"alembic_version"}


def make_tables(url: URL) -> None:
    """Create the tables unless they are there.

    Raises:
        StorageError: The database is not Optuna's, or of another version.
    """
    if url.get_backend_name() == "sqlite":
        _check_sqlite_file(url)
    engine = sqlalchemy.create_engine(text_of(url), **engine_kwargs(url))
    try:
        if not _tables_are_ready(engine, url):
            with _creating_alone(engine, url):
                if not _tables_are_ready(engine, url):
                    _create(url)
    finally:
        engine.dispose()


def _check_sqlite_file(url: URL) -> None:
    file = Path(str(url.database))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        is_filled = file.exists() and file.stat().st_size > 0
    except OSError as error:
        raise StorageError(f"storage {file}: {error.strerror}") from None
    for path in (file.parent, file) if file.exists() else (file.parent,):
        if not os.access(path, os.W_OK):
            raise StorageError(f"storage {file}: no permission to write {path}")
    if is_filled:
        _refuse_foreign(_table_names(file), url)


def _table_names(file: Path) -> set[str]:
    """Read before the first connection of ours, which switches the file to WAL for good.

    By SQLite, as everything else: closing a file that was opened in another way takes the locks
    of all connections of this process off it (POSIX), and other processes then clear its WAL away.
    """
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as reader:
            rows = reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise StorageError(
                f"storage {file} is no SQLite database: give another file name"
            ) from None
        raise StorageError(f"storage {file}: {error}: give another file name") from None


def _refuse_foreign(names: set[str], url: URL) -> None:
    if names and not names & set(models.BaseModel.metadata.tables):
        raise StorageError(
            f"storage {redact(text_of(url))} holds the tables of another program: give the "
            "study a database of its own"
        )


def _tables_are_ready(engine: Engine, url: URL) -> bool:
    names = set(sqlalchemy.inspect(engine).get_table_names())
    ours = set(models.BaseModel.metadata.tables)
    _refuse_foreign(names if engine.dialect.name == "sqlite" else names & (ours | _FOREIGN), url)
    if not ours | _FOREIGN <= names:
        return False
    with engine.connect() as connection:
        revision = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        maker = connection.scalar(sqlalchemy.text("SELECT library_version FROM version_info"))
    if maker is not None and int(maker.split(".")[0]) < 5:
        raise StorageError(
            f"storage {redact(text_of(url))} was made by Optuna {maker}, which stores times in "
            "another way: run `optuna storage upgrade` on it, or give another database"
        )
    return revision is not None and maker is not None


@contextmanager
def _creating_alone(engine: Engine, url: URL) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        folder = os.open(Path(str(url.database)).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
        return
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET lock_timeout = '60s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_TABLES_LOCK})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_TABLES_LOCK})")


def _create(url: URL) -> None:
    RDBStorage(
        text_of(url).replace("{", "{{").replace("}", "}}"), engine_kwargs(url)
    ).engine.dispose()
