"""Files that the dashboard shows on a study's pages, for a copy that is to have its own.

With the same files as its original, a copy would lose its pictures when the original is deleted.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from search.dashboard.attributes import artifact_ids
from search.errors import SearchError
from search.results.copying import Row, StudyRows


@contextmanager
def own_files(rows: StudyRows, folder: Path) -> Iterator[StudyRows]:
    """The rows with names of new files, which are copies in ``folder``; none remain of a failure.

    Raises:
        SearchError: A file cannot be copied.
    """
    listed = [row["key"] for found in rows.of_study.values() for row in found if "key" in row]
    listed += [row["key"] for found in rows.of_trials.values() for _, row in found if "key" in row]
    listed = [key.replace("\0", "") for key in listed]  # before the positions of trials
    # What is not in this folder is somewhere else: the copy goes on naming it there.
    names = {name: str(uuid.uuid4()) for name in artifact_ids(listed) if (folder / name).is_file()}
    try:
        _copy(names, folder)
        yield _renamed(rows, names) if names else rows
    except BaseException:
        for new in names.values():
            (folder / new).unlink(missing_ok=True)
        raise


def _copy(names: dict[str, str], folder: Path) -> None:
    try:
        for old, new in names.items():
            shutil.copyfile(folder / old, folder / new)
    except OSError as error:
        raise SearchError(
            f"the study's pictures cannot be copied ({error.strerror}: {error.filename}): "
            "nothing is copied"
        ) from None


def _renamed(rows: StudyRows, names: dict[str, str]) -> StudyRows:
    known = re.compile("|".join(map(re.escape, names)))

    def renamed(row: Row) -> Row:
        if "key" not in row:
            return row
        changed = {
            column: known.sub(lambda found: names[found[0]], row[column])
            for column in ("key", "value_json")
        }
        return row | changed

    return replace(
        rows,
        of_study={
            table: [renamed(row) for row in found] for table, found in rows.of_study.items()
        },
        of_trials={
            table: [(at, renamed(row)) for at, row in found]
            for table, found in rows.of_trials.items()
        },
    )
