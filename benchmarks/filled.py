"""A study that already has many trials, the first in its database, written in one go."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models as optuna_models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from search.spaces import EVALUATIONS_PER_EPOCH, SEARCH_SPACES, Task
from search.storage.admission import PARAMS_KEY
from search.workers.attempt import params_key

# Its columns look untyped to mypy.
models: Any = optuna_models
# ASHA's rungs of a trial of 20 steps, as the pruner would have stored them.
_RUNGS = (4, 12)
#: Trials that are better than any training.
_TOP = 3


def fill(url: str, study_id: int, task: Task, model: str, count: int) -> None:
    """Add ``count`` trials to the study, as a search leaves them: two thirds pruned.

    Their parameters are random. The values of all but a few lie below what any training reaches:
    no pruner stops a new trial, and none is shown among the best.
    """
    sampled = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    rng = random.Random(0)
    rows: dict[Any, list[dict[str, Any]]] = {}
    for number in range(count):
        trial = sampled.ask()
        SEARCH_SPACES[model](trial, task)
        is_top = number < _TOP
        last = task.max_steps if is_top or rng.random() < 1 / 3 else rng.choice(_RUNGS)
        _describe(rows, trial._cached_frozen_trial, 1 + number, number, last, rng, top=is_top)
    for trial_row in rows.get(models.TrialModel, ()):
        trial_row["study_id"] = study_id
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        for table, table_rows in rows.items():
            session.execute(table.__table__.insert(), table_rows)
        if count and engine.dialect.name == "postgresql":
            # Rows with ids of our own leave the counter behind.
            session.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), "
                    "(SELECT max(trial_id) FROM trials))"
                )
            )
    engine.dispose()


def _describe(
    rows: dict[Any, list[dict[str, Any]]],
    trial: FrozenTrial,
    trial_id: int,
    number: int,
    last: int,
    rng: random.Random,
    *,
    top: bool,
) -> None:
    """The rows of one trial, in all tables."""
    started = datetime(2026, 1, 1) + timedelta(seconds=10 * number)
    curve = sorted(rng.uniform(0.0, 0.001) + (0.998 if top else 0.0) for _ in range(last))

    def add(table: Any, **columns: Any) -> None:
        rows.setdefault(table, []).append(columns)

    add(
        models.TrialModel,
        trial_id=trial_id,
        number=number,
        state=TrialState.COMPLETE if last not in _RUNGS else TrialState.PRUNED,
        datetime_start=started,
        datetime_complete=started + timedelta(seconds=10),
    )
    finite = models.TrialValueModel.TrialValueType.FINITE
    add(
        models.TrialValueModel,
        trial_id=trial_id,
        objective=0,
        value=curve[-1],
        value_type=finite,
    )
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        add(
            models.TrialParamModel,
            trial_id=trial_id,
            param_name=name,
            param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )
    kind = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    for step, value in enumerate(curve, start=1):
        add(
            models.TrialIntermediateValueModel,
            trial_id=trial_id,
            step=step,
            intermediate_value=value,
            intermediate_value_type=kind,
        )
    system: dict[str, Any] = {PARAMS_KEY: params_key(trial.params), "claim": f"{number:032x}"}
    system |= {
        f"completed_rung_{rung}": curve[step - 1]
        for rung, step in enumerate(_RUNGS)
        if step <= last
    }
    for key, value in system.items():
        _attribute(add, models.TrialSystemAttributeModel, trial_id, key, value)
    user: dict[str, Any] = {
        "worker": "host:1",
        "configuration": number,
        "root": number,
        "attempt": 1,
        "epochs": last / EVALUATIONS_PER_EPOCH,
        "best_epoch": last / EVALUATIONS_PER_EPOCH,
        "accuracy": curve[-1],
        "loss": 4.0,
        "seconds": 10.0,
    }
    for key, value in user.items():
        _attribute(add, models.TrialUserAttributeModel, trial_id, key, value)


def _attribute(add: Any, table: Any, trial_id: int, key: str, value: Any) -> None:
    add(table, trial_id=trial_id, key=key, value_json=json.dumps(value))
