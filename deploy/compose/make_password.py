"""Write the database's password for the other services, once: the given one, or a random one.

    password    as it is, for the postgres image
    pgpass      in libpq's format, for whoever connects (``PGPASSFILE``)

So no password stands in a command line, a URL or the files of this project.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

FOLDER = Path("/secrets")


def main() -> None:
    given = os.environ.get("POSTGRES_PASSWORD", "")
    if "\n" in given:
        sys.exit("error: POSTGRES_PASSWORD has more than one line")
    file = FOLDER / "password"
    stored = file.read_text() if file.exists() else None
    if stored is not None and given and given != stored:
        sys.exit(
            "error: POSTGRES_PASSWORD is not the one that the database was created with; "
            "leave it out, or see 'Changing the password' in docs/containers.md"
        )
    password = stored or given or secrets.token_urlsafe(32)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    write(FOLDER / "pgpass", f"*:*:*:*:{escaped}\n")
    write(file, password)


def write(file: Path, text: str) -> None:
    # libpq takes no password file that others can read.
    temporary = file.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)


if __name__ == "__main__":
    main()
