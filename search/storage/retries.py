"""What a trial that is tried again keeps of the attempt before, and what it forgets."""

from __future__ import annotations

import json
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.limits import PRUNE_REASON
from search.storage.admission import PARAMS_KEY
from search.storage.operations import operation
from search.storage.overrides import SearchStorage
from search.storage.rows import models, own_trial

_RUNG = "completed_rung_"
# What a retried trial keeps of its origin's system attributes: what fixes its parameters, and what
# samplers and pruners know of it. All else (constraints, liars, artifacts) it makes anew.
_KEPT = ("fixed_params", "grid_id", "search_space", "x_for_tell", "cma:", _RUNG, PARAMS_KEY)
# What an attempt says of itself: where it ran, and what it wrote before an end that never came.
_OF_ONE_ATTEMPT = {"worker", "resumed_from", "fail_reason", "error", PRUNE_REASON}
_OF_ONE_ATTEMPT |= {"epochs", "best_epoch", "accuracy", "loss", "seconds"}
#: User attribute: how long the attempts before this one ran, on the database's clock.
SECONDS_BEFORE = "seconds_before"


@operation
def resume_at(storage: SearchStorage, trial_id: int, step: int) -> int:
    """Forget what a retried trial inherited from after the step that it goes on from.

    Args:
        step: That its checkpoint holds.

    Returns:
        ``step``; 0 if the trial has not reported it, for then the checkpoint is not its own.

    Raises:
        Fenced: The trial is no longer this worker's.
    """

    def work(session: Session, again: bool) -> int:
        trial = own_trial(session, trial_id)
        kept = set()
        rows = list(trial.intermediate_values)
        last = step if step in (row.step for row in rows) else 0
        for row in rows:
            if row.step > last:
                session.delete(row)
            else:
                kept.add(row.intermediate_value)
        for row in list(trial.system_attributes):
            # A rung holds the value of the step at which the trial passed it.
            if row.key.startswith(_RUNG) and json.loads(row.value_json) not in kept:
                session.delete(row)
        storage._set_trial_attr_without_commit(
            session, models.TrialUserAttributeModel, trial_id, "resumed_from", last
        )
        return last

    return storage.transaction(work)


def forget_rungs(session: Session, trial: Any) -> None:
    """They go on with the retried trial. Left here too, its values would compete with itself."""
    for row in list(trial.system_attributes):
        if row.key.startswith(_RUNG):
            session.delete(row)


def retry_of(trial: FrozenTrial, *, failures: int, seconds: float) -> FrozenTrial:
    """The same configuration, WAITING for its next attempt.

    Args:
        failures: Of its attempts so far.
        seconds: How long they ran.
    """
    first = trial.user_attrs
    inherited = {key: value for key, value in first.items() if key not in _OF_ONE_ATTEMPT}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.WAITING,
        value=None,
        values=None,
        datetime_start=None,
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={
            **inherited,
            "configuration": first.get("configuration", trial.number),
            "root": first.get("root", trial.number),
            "attempt": first.get("attempt", 1) + 1,
            "failures": failures,
            "retry_of": trial.number,
            SECONDS_BEFORE: round(seconds, 3),
        },
        system_attrs={
            key: value for key, value in trial.system_attrs.items() if key.startswith(_KEPT)
        },
        # All of them: who takes the trial knows its checkpoint, and forgets what came after.
        intermediate_values=trial.intermediate_values,
    )
