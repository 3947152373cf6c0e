"""Where optuna-dashboard 0.21 keeps notes and files: among the system attributes of a study.

Its own functions take one transaction for each part of a note, so that two writers can mix
theirs, and importing them takes seconds. A file of a trial may stand with the study, too: a
finished trial takes no more attributes, and the dashboard reads finished trials only once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_PART_CHARACTERS = 2045
# With the study, or as Optuna's `upload_artifact` has it, with the trial. Ids are random UUIDs:
# what looks otherwise was not put there by either, and must not become the name of a file.
_ARTIFACT_KEY = re.compile(
    r"(?:dashboard:)?artifacts:(?:\d+:)?([0-9a-f]{8}(?:-[0-9a-f]{4,12}){4})"
)


def note_in(attributes: Mapping[str, Any]) -> str:
    """The Markdown of the study's note; nothing if there is none."""
    prefix = _prefix(None)
    numbers = sorted(int(key[len(prefix) :]) for key in attributes if key.startswith(prefix))
    return "".join(attributes[f"{prefix}{number}"] for number in numbers)


def note_attributes(
    text: str, attributes: Mapping[str, Any], *, trial_id: int | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to write for the note of the study, or of a trial, and what has to be there still.

    ``attributes`` are the study's system attributes as they were read.
    """
    prefix, version = _prefix(trial_id), note_version(trial_id)
    parts = [text[at : at + _PART_CHARACTERS] for at in range(0, len(text), _PART_CHARACTERS)]
    emptied = {key: "" for key in attributes if key.startswith(prefix)}
    new = {f"{prefix}{number}": part for number, part in enumerate(parts)}
    old = attributes.get(version)
    return emptied | new | {version: (old or 0) + 1}, {version: old}


def note_version(trial_id: int | None = None) -> str:
    """The attribute that counts how often a note was written."""
    return "dashboard:note_ver" if trial_id is None else f"dashboard:{trial_id}:note_ver"


def artifact_attribute(trial_id: int, artifact_id: str, *, name: str, kind: str) -> dict[str, str]:
    """What puts a file on a trial's page; ``kind`` is its MIME type."""
    meta = {"artifact_id": artifact_id, "filename": name, "mimetype": kind, "encoding": None}
    return {f"dashboard:artifacts:{trial_id}:{artifact_id}": json.dumps(meta)}


def artifact_ids(keys: Iterable[str]) -> set[str]:
    """The files, by their names in the ``--artifact-dir``, that attributes of these keys name."""
    return {found[1] for key in keys if (found := _ARTIFACT_KEY.fullmatch(key))}


def artifact_address(study_id: object, trial_id: object, artifact_id: str) -> str:
    """Where the dashboard serves a file of a trial, from its root."""
    return f"/artifacts/{study_id}/{trial_id}/{artifact_id}"


def _prefix(trial_id: int | None) -> str:
    return "dashboard:note_str:" if trial_id is None else f"dashboard:{trial_id}:note_str:"
