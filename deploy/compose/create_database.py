"""Create the database named on the command line unless it is there: ``create_database.py mlflow``.

Where and as whom come from libpq's environment (``PGHOST``, ``PGUSER``, ``PGPASSFILE`` …).
"""

from __future__ import annotations

import sys

import psycopg
from psycopg import sql


def main(name: str) -> None:
    # Not by the image's initdb scripts: those don't run again when the first start was cut short.
    with psycopg.connect(autocommit=True, connect_timeout=10) as connection:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


if __name__ == "__main__":
    main(sys.argv[1])
