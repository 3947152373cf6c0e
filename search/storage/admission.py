"""Whether a trial may start: the budget, what users asked for, what is left of the space."""

from __future__ import annotations

import json
from collections.abc import Set
from datetime import datetime

from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.errors import SearchError
from search.storage.budget import DEADLINE, EXHAUSTED, N_TRIALS, Verdict
from search.storage.control import FAILURE, STATE, STOPS, Control
from search.storage.rows import clock, count_states_in, models, study_attributes

# System attribute of a trial: its parameters in one canonical text.
PARAMS_KEY = "params_key"


def admission(
    session: Session, study_id: int, *, stops: int | None = None, points: Set[str] | None = None
) -> tuple[Verdict | None, dict[TrialState, int]]:
    """A verdict, or None if a trial may start; and how many trials are in each state.

    Args:
        stops: How often the study had been stopped when the worker came.
        points: ``PARAMS_KEY`` of each configuration that can be drawn; None: no end of them.
    """
    keys = (N_TRIALS, DEADLINE, EXHAUSTED, STATE, STOPS, FAILURE)
    attributes = study_attributes(session, study_id, keys)
    if N_TRIALS not in attributes:
        raise SearchError("the study has no budget: start it with its own command first")
    control = Control.of(attributes)
    counts = count_states_in(session, study_id)
    running, waiting = counts.get(TrialState.RUNNING, 0), counts.get(TrialState.WAITING, 0)
    finished = counts.get(TrialState.COMPLETE, 0) + counts.get(TrialState.PRUNED, 0)
    n_trials = attributes[N_TRIALS]
    deadline = attributes.get(DEADLINE)
    verdict = None
    if n_trials is not None and finished >= n_trials:
        verdict = Verdict.FINISHED
    elif stops is not None and control.stops > stops:
        verdict = Verdict.STOPPED
    elif control.verdict in (Verdict.STOPPED, Verdict.FAILED):
        verdict = control.verdict
    elif deadline is not None and clock(session) >= datetime.fromisoformat(deadline):
        verdict = Verdict.TIMED_OUT
    elif control.verdict is Verdict.PAUSED:
        verdict = Verdict.PAUSED
    elif n_trials is not None and finished + running >= n_trials:
        verdict = Verdict.WAIT
    elif not waiting and (attributes.get(EXHAUSTED) or _none_left(session, study_id, points)):
        verdict = Verdict.WAIT if running else Verdict.EXHAUSTED
    return verdict, counts


def _none_left(session: Session, study_id: int, points: Set[str] | None) -> bool:
    """Whether all ``points`` are tried, or about to be drawn by the trials that run."""
    if points is None:
        return False
    trial, attribute = models.TrialModel, models.TrialSystemAttributeModel
    rows = (
        session.query(trial.state, attribute.value_json)
        .join(attribute, attribute.trial_id == trial.trial_id)
        .filter(trial.study_id == study_id, attribute.key == PARAMS_KEY)
    )
    found = [(state, json.loads(value)) for state, value in rows]
    drawn = sum(state == TrialState.RUNNING for state, _ in found)
    drawing = count_states_in(session, study_id).get(TrialState.RUNNING, 0) - drawn
    return len(points & {key for _, key in found}) + drawing >= len(points)
