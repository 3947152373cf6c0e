"""The columns of a table: each that is asked for has to be there once."""

import json
from collections.abc import Sequence
from pathlib import Path

from data_utils.errors import DataError, one_line


def check_column(
    path: Path, names: Sequence[str], name: str, *, purpose: str = "", advice: str = ""
) -> None:
    """Raise DataError unless ``names`` has ``name`` once.

    ``purpose`` says what a missing one was for, ``advice`` what to do, or what seems wrong.
    """
    count = names.count(name)
    if count > 1:
        raise DataError(f"{path} has {count} columns {name!r}: rename or remove all but one")
    if not count:
        raise DataError(
            f"{path} has no column {name!r}{purpose}: it has {shown(names)}"
            + (f"; {advice}" if advice else "")
        )


def shown(names: Sequence[str]) -> str:
    """The first of some names, on one line."""
    return one_line(", ".join(name[:40] for name in names[:20])) + ", ..." * (len(names) > 20)


def json_names(path: Path, head: bytes) -> list[str]:
    """The fields of the first objects of JSON lines; a broken line among them is counted later.

    Raises DataError if there is no object among the first lines.
    """
    if head.lstrip()[:1] == b"[":
        raise DataError(f"{path} is a JSON array, not JSON lines, one object a line")
    names: dict[str, None] = {}
    for line in head.splitlines()[:100]:
        try:
            found = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            names.update(dict.fromkeys(found))
    if not names:
        raise DataError(f"{path} is not JSON lines: none of its first lines is a JSON object")
    return list(names)
