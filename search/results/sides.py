"""The two trials that a user wants to have compared, found by what was typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna

from search.display.progress import Progress
from search.errors import SearchError
from search.results.comparison import Side
from search.results.finding import find_storage
from search.results.opened import OpenedStudy, open_existing


def open_side(
    text: str,
    storage_url: str | None,
    *,
    out: Path,
    device: str,
    progress: Progress,
    other: OpenedStudy | None = None,
    data: str | None = None,
    vectors: Path | None = None,
) -> Side:
    """The best trial of study ``text``, or trial 12 of study NAME if it is ``NAME:12``.

    Args:
        data, vectors: Where the study's own are here, if elsewhere; a study that trained its word
            vectors itself has no use for the latter.
        other: Taken if it is the same study of the same storage, to share its prepared data.

    Raises:
        SearchError: There is no such study or trial.
    """
    storage = find_storage(storage_url, out=out)
    names = optuna.get_all_study_names(storage)
    name, colon, number = text.rpartition(":")
    if text in names or not (colon and number.isdecimal()):
        name, number = text, ""
    if other is None or (other.name, other.storage.display_url) != (name, storage.display_url):
        opened = open_existing(
            name, storage_url, out=out, device=device, progress=progress, data=data
        )
        if opened.settings.vectors is not None:
            opened = replace(opened, vectors_here=vectors)
    else:
        opened = other
    storage.close()
    if not number:
        return Side(opened, opened.best)
    if int(number) >= len(opened.trials):
        raise SearchError(
            f"study {name!r} has no trial {number}: they are 0 to {len(opened.trials) - 1}"
        )
    return Side(opened, opened.trials[int(number)])
