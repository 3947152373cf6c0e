"""System attributes of a study that belong together: all of them are written, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.storages._rdb import models as optuna_models
from sqlalchemy.orm import Session

from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import lock_study

# Its columns look untyped to mypy.
models: Any = optuna_models


@operation
def swap_system_attributes(
    storage: SearchStorage,
    study_id: int,
    attributes: Mapping[str, Any],
    *,
    expected: Mapping[str, Any],
) -> bool:
    """Write system attributes of the study if those in ``expected`` still have these values.

    None is the value of an attribute that is not there. False: nothing was written.
    """

    def work(session: Session, again: bool) -> bool:
        lock_study(session, study_id)
        table = models.StudySystemAttributeModel
        names = {*attributes, *expected}
        query = session.query(table).filter(table.study_id == study_id, table.key.in_(names))
        there = {row.key: row for row in query}
        found = {key: json.loads(row.value_json) for key, row in there.items()}
        if again and all(found.get(key) == value for key, value in attributes.items()):
            return True
        if any(found.get(key) != value for key, value in expected.items()):
            return False
        for key, value in attributes.items():
            if key in there:
                there[key].value_json = json.dumps(value)
            else:
                session.add(table(study_id=study_id, key=key, value_json=json.dumps(value)))
        return True

    return storage.transaction(work)
