"""How a study stands at this moment, read in a few queries however many trials it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.objectives import by_accuracy, pareto_front
from search.results.listing import read_settings
from search.spaces import EVALUATIONS_PER_EPOCH
from search.storage.budget import DEADLINE, EXHAUSTED, N_TRIALS, as_budget, as_deadline
from search.storage.control import Control
from search.storage.overrides import SearchStorage
from search.storage.rows import clock, count_states_in, models, within_limits
from search.study import SETTINGS_ATTR

# Trials of late, whose mean time is the pace: the first ones, which no pruner stops, last longer.
_PACE_TRIALS = 20


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way, and how its worker does.

    Attributes:
        worker: ``host:process``; None for a trial that another tool started.
        step, value: The last report; None before the first.
        epoch, max_epochs: None in a study of another program.
        silent_seconds: Since the last sign of life; None if there never was one.
        stale: Silent for so long that the next worker to look will give the trial to another.
    """

    number: int
    worker: str | None
    attempt: int
    step: int | None
    value: float | None
    epoch: float | None
    max_epochs: int | None
    silent_seconds: float | None
    stale: bool


@dataclass(frozen=True)
class StudyStatus:
    """How a study stands.

    Attributes:
        trials: State -> how many.
        n_trials: The budget; None without one.
        best: Of the COMPLETE trials within the limits, with its balanced accuracy alone; None if
            there is none, or with several objectives in a study of another program.
        front: Numbers of the trials on the Pareto front; empty with one objective.
        running: By trial.
        deadline_seconds: Until the study's time is over, negative afterwards; None: no limit.
        left_seconds: An estimate from the trials of late and the workers alive; None if nobody
            works or too few trials have ended.
        held: Why workers take no trials, in words: paused, stopped or failed; None if they may.
        exhausted: Every configuration has been tried.
        limits: What a network may cost, by the names of ``search.limits.UNITS``.
    """

    name: str
    trials: dict[str, int]
    n_trials: int | None
    best: FrozenTrial | None
    running: list[RunningTrial]
    deadline_seconds: float | None
    left_seconds: float | None
    held: str | None
    exhausted: bool
    front: tuple[int, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Trials that count to the budget."""
        return self.trials.get("COMPLETE", 0) + self.trials.get("PRUNED", 0)

    @property
    def workers_alive(self) -> int:
        return sum(not trial.stale for trial in self.running)

    def as_json(self) -> dict[str, Any]:
        best = self.best
        return {
            **{
                name: value
                for name, value in vars(self).items()
                if name not in ("best", "running", "front", "limits")
            },
            "done": self.done,
            "workers_alive": self.workers_alive,
            **({"pareto_front": self.front} if self.front else {}),
            **({"limits": self.limits} if self.limits else {}),
            "best": best and {"number": best.number, "value": best.value, "params": best.params},
            "running": [asdict(trial) for trial in self.running],
        }


def read_status(storage: SearchStorage, study: optuna.Study) -> StudyStatus:
    """Ask the storage how the study stands; times are by its clock."""
    attributes, study_id = study.user_attrs, study._study_id
    settings, _ = read_settings(attributes.get(SETTINGS_ATTR))

    def work(session: Session, again: bool) -> tuple[Any, ...]:
        return (
            count_states_in(session, study_id),
            _best_id(session, study_id),
            _trial_seconds(session, study_id),
            clock(session),
        )

    counts, best_id, trial_seconds, now = storage.transaction(work, reading=True)
    deadline = as_deadline(attributes.get(DEADLINE))
    verdict = Control.of(attributes).verdict
    best = None if best_id is None else storage.get_trial(best_id)
    front = pareto_front(study) if "objectives" in settings else []
    if front:
        best = by_accuracy(front[0])
    status = StudyStatus(
        name=study.study_name,
        trials={state.name: counts[state] for state in sorted(counts)},
        n_trials=as_budget(attributes.get(N_TRIALS)),
        best=best,
        front=tuple(trial.number for trial in front),
        running=read_running(storage, study_id, settings.get("max_epochs")),
        deadline_seconds=None if deadline is None else (deadline - now).total_seconds(),
        left_seconds=None,
        held=None if verdict is None else verdict.value,
        exhausted=bool(attributes.get(EXHAUSTED)),
        limits=settings.get("limits", {}),
    )
    return replace(status, left_seconds=_left_seconds(status, trial_seconds))


def read_running(
    storage: SearchStorage, study_id: int, max_epochs: int | None
) -> list[RunningTrial]:
    """The RUNNING trials by number; ``max_epochs`` None: of a study of another program."""

    def work(session: Session, again: bool) -> tuple[datetime, list[tuple[int, datetime | None]]]:
        beat = models.TrialHeartbeatModel
        rows = (
            session.query(models.TrialModel.trial_id, beat.heartbeat)
            .outerjoin(beat, beat.trial_id == models.TrialModel.trial_id)
            .filter(models.TrialModel.study_id == study_id)
            .filter(models.TrialModel.state == TrialState.RUNNING)
        )
        return clock(session), [(trial_id, heartbeat) for trial_id, heartbeat in rows]

    now, rows = storage.transaction(work, reading=True)
    found = []
    for trial_id, heartbeat in rows:
        silent = None if heartbeat is None else (now - heartbeat).total_seconds()
        trial = storage.get_trial(trial_id)
        stale = silent is not None and silent >= storage.grace_seconds
        found.append(_running(trial, silent, stale=stale, max_epochs=max_epochs))
    return sorted(found, key=lambda trial: trial.number)


def _running(
    trial: FrozenTrial, silent: float | None, *, stale: bool, max_epochs: int | None
) -> RunningTrial:
    step = trial.last_step
    ours = max_epochs is not None
    return RunningTrial(
        number=trial.number,
        worker=trial.user_attrs.get("worker"),
        attempt=trial.user_attrs.get("attempt", 1),
        step=step,
        value=None if step is None else trial.intermediate_values[step],
        epoch=step / EVALUATIONS_PER_EPOCH if ours and step is not None else None,
        max_epochs=trial.params.get("num_epochs", max_epochs) if ours else None,
        silent_seconds=silent if silent is None else max(silent, 0.0),
        stale=stale,
    )


def _best_id(session: Session, study_id: int) -> int | None:
    """Of equal trials the first one, as in the closing table of a search."""
    direction = models.StudyDirectionModel
    ways = [row for (row,) in session.query(direction.direction).filter_by(study_id=study_id)]
    if len(ways) != 1:
        return None
    trial, value = models.TrialModel, models.TrialValueModel.value
    row = (
        session.query(trial.trial_id)
        .join(models.TrialValueModel, models.TrialValueModel.trial_id == trial.trial_id)
        .filter(trial.study_id == study_id, trial.state == TrialState.COMPLETE)
        .filter(value.is_not(None), within_limits())
        .order_by(value if ways[0] == StudyDirection.MINIMIZE else value.desc(), trial.number)
        .first()
    )
    return None if row is None else int(row[0])


def _trial_seconds(session: Session, study_id: int) -> float | None:
    """The mean time of the trials of late; None if fewer than two have ended."""
    trial = models.TrialModel
    rows = (
        session.query(trial._datetime_start_utc, trial._datetime_complete_utc)
        .filter(trial.study_id == study_id)
        .filter(trial.state.in_((TrialState.COMPLETE, TrialState.PRUNED)))
        .filter(trial._datetime_start_utc.is_not(None))
        .order_by(trial._datetime_complete_utc.desc())
        .limit(_PACE_TRIALS)
    )
    seconds = [(end - start).total_seconds() for start, end in rows]
    return sum(seconds) / len(seconds) if len(seconds) > 1 else None


def _left_seconds(status: StudyStatus, trial_seconds: float | None) -> float | None:
    if not status.workers_alive:
        return None
    limits = []
    if status.deadline_seconds is not None:
        limits.append(max(status.deadline_seconds, 0.0))
    if status.n_trials is not None and trial_seconds is not None:
        missing = max(status.n_trials - status.done, 0)
        limits.append(missing * trial_seconds / min(status.workers_alive, max(missing, 1)))
    return min(limits, default=None)
