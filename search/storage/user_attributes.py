"""User attributes of a worker's own trial, all in one transaction: Optuna takes one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import models, own_trial, write_attributes


@operation
def write_user_attributes(
    storage: SearchStorage, trial_id: int, attributes: Mapping[str, Any]
) -> None:
    """Write these, over those that are there.

    Raises:
        Fenced: The trial is no longer this worker's.
    """

    def work(session: Session, again: bool) -> None:
        own_trial(session, trial_id)
        write_attributes(session, models.TrialUserAttributeModel, trial_id, attributes)

    storage.transaction(work)
