"""Optuna's tables in a database: looked for, and made once, by one process of many."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from optuna.storages._rdb import models as optuna_models
from sqlalchemy import text
from sqlalchemy.engine import URL, Connection

from search.errors import StorageError
from search.redaction import redact
from search.storage.connecting import engine_kwargs, text_of

# Its columns look untyped to mypy.
models: Any = optuna_models
# Any number: the one advisory lock under which tables are created.
_TABLES_LOCK = 7_253_081_906
# Of Optuna 5.0's tables. Another one is left to Optuna to judge.
_REVISION = "v3.2.0.a"
# MLflow, too, keeps its schema's revision in a table of this name.
_FOREIGN = {"alembic_version"}


def make_tables(url: URL, *, pooled: bool = False) -> None:
    """Create the tables unless they are there.

    Args:
        pooled: PostgreSQL is reached through a pooler.

    Raises:
        StorageError: The database is not Optuna's, or of another version.
    """
    if url.get_backend_name() == "sqlite":
        _check_sqlite_file(url)
    engine = sqlalchemy.create_engine(text_of(url), **engine_kwargs(url, pooled=pooled))
    try:
        with engine.connect() as connection:
            revision = _revision(connection, url)
        if revision is None:
            # One transaction, and so one connection: a pooler may have no second one to give. And
            # who dies in its midst leaves nothing.
            with engine.begin() as connection:
                _hold_tables(connection)
                if _revision(connection, url) is None:
                    _create(connection)
        elif revision != _REVISION:
            # Optuna says which of both is the older. It reads all of its migrations for it, and
            # that in a transaction.
            kwargs = engine_kwargs(url, pooled=pooled)
            RDBStorage(_template(url), kwargs, skip_table_creation=True).engine.dispose()
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
                f"storage {file} is not an SQLite database: give another file name"
            ) from None
        raise StorageError(f"storage {file}: {error}: give another file name") from None


def _refuse_foreign(names: set[str], url: URL) -> None:
    if names and not names & set(models.BaseModel.metadata.tables):
        raise StorageError(
            f"storage {redact(text_of(url))} holds the tables of another program: give the "
            "study a database of its own"
        )


def _template(url: URL) -> str:
    # Optuna formats it.
    return text_of(url).replace("{", "{{").replace("}", "}}")


def _revision(connection: Connection, url: URL) -> str | None:
    """Of the tables; None if they are not, or not all, there."""
    names = set(sqlalchemy.inspect(connection).get_table_names())
    ours = set(models.BaseModel.metadata.tables)
    is_sqlite = connection.dialect.name == "sqlite"
    _refuse_foreign(names if is_sqlite else names & (ours | _FOREIGN), url)
    if not ours | _FOREIGN <= names:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    maker = connection.scalar(text("SELECT library_version FROM version_info"))
    if maker is not None and int(maker.split(".")[0]) < 5:
        raise StorageError(
            f"storage {redact(text_of(url))} was made by Optuna {maker}, which stores times in "
            "another way: run `optuna storage upgrade` on it, or give another database"
        )
    return None if maker is None else revision


def _hold_tables(connection: Connection) -> None:
    """To the end of the transaction no other process creates the tables."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})")


def _create(connection: Connection) -> None:
    """What Optuna does in three transactions, and each with a connection of its own."""
    models.BaseModel.metadata.create_all(connection)
    version = models.VersionInfoModel.__table__
    schema = connection.scalar(sqlalchemy.select(version.c.schema_version))
    if schema is None:
        schema = models.SCHEMA_VERSION
        row = version.insert().values(schema_version=schema, library_version=optuna.__version__)
        connection.execute(row)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    migration = MigrationContext.configure(connection)
    if migration.get_current_revision() is None and schema == models.SCHEMA_VERSION:
        script = ScriptDirectory(str(Path(optuna_models.__file__).parent / "alembic"))
        migration.stamp(script, "head")
