"""The parameters of a new trial, written at once, and never those of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from sqlalchemy.orm import Session

from search.storage.admission import PARAMS_KEY
from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import hold_text, models, own_trial, study_of, write_attributes


@operation
def write_params(
    storage: SearchStorage,
    trial_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    *,
    key: str,
    known_to: int | None,
) -> int | None:
    """Write all parameters of a new trial at once, unless another trial has the same.

    Args:
        key: The parameters in one canonical text.
        known_to: Trials with ids up to this one need no look; None: write in any case.

    Returns:
        The number of the trial that has these parameters, or None when they are written.

    Raises:
        Fenced: The trial is no longer this worker's.
    """

    def work(session: Session, again: bool) -> int | None:
        study_id = study_of(session, trial_id)
        trial = own_trial(session, trial_id)
        # Not the study: workers with other parameters need not wait.
        hold_text(session, study_id, key)
        if again and trial.params:
            return None
        if known_to is not None:
            twin = _find_twin(session, trial, key, known_to)
            if twin is not None:
                return twin
        # In one go: Optuna takes a transaction, and four queries, for each.
        session.add_all(
            models.TrialParamModel(
                trial_id=trial_id,
                param_name=name,
                param_value=distributions[name].to_internal_repr(value),
                distribution_json=distribution_to_json(distributions[name]),
            )
            for name, value in params.items()
        )
        write_attributes(session, models.TrialSystemAttributeModel, trial_id, {PARAMS_KEY: key})
        return None

    return storage.transaction(work)


def _find_twin(session: Session, trial: Any, key: str, known_to: int) -> int | None:
    attribute = models.TrialSystemAttributeModel
    row = (
        session.query(models.TrialModel.number)
        .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
        .filter(models.TrialModel.study_id == trial.study_id)
        .filter(models.TrialModel.trial_id > known_to)
        .filter(models.TrialModel.trial_id != trial.trial_id)
        .filter(attribute.key == PARAMS_KEY, attribute.value_json == json.dumps(key))
        .first()
    )
    return None if row is None else row[0]
