"""All that a report says, collected before a word of it is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from search.display.limits import baselines_over, limits_line
from search.errors import SearchError
from search.folders import file_name
from search.objectives import may_be_best
from search.results.opened import OpenedStudy
from search.results.report.attempts import Row, is_baseline, row, valued
from search.results.report.categories import Categories, categories_of_best
from search.results.report.course import Course, course, failure_reason
from search.results.report.importance import Importance, importance
from search.results.report.leaderboard import Leaderboard, leaderboard
from search.results.report.origin import Origin, origin
from search.results.report.pareto import Pareto, pareto
from search.results.report.pruning import Pruning, pruning
from search.settings import StudySettings
from search.study import KEY_ATTR

_ROWS = 200


@dataclass(frozen=True)
class Facts:
    """What is known of a study. ``categories`` is None where nothing may be trained."""

    name: str
    key: str
    settings: StudySettings
    written: datetime
    best: FrozenTrial
    trials: tuple[FrozenTrial, ...]
    course: Course
    leaderboard: Leaderboard
    pareto: Pareto | None
    baselines: tuple[Row, ...]
    importance: Importance
    pruning: Pruning
    categories: Categories | None
    origin: Origin

    @property
    def limits(self) -> str:
        """What the study allows, and how many trials were over that; empty without limits."""
        return limits_line(self.trials, self.settings.limits)

    @property
    def baselines_over(self) -> list[tuple[int, str, str]]:
        """Of each baseline that was over a limit: trial, name, and by what."""
        return baselines_over(self.trials)

    @property
    def rows(self) -> list[Row]:
        """The trials with a value, the best first; as many as a table can take."""
        found = sorted(
            valued(self.trials),
            key=lambda t: (not may_be_best(t), -(t.value or 0.0), t.number),
        )
        return [row(trial) for trial in found[:_ROWS]]

    @property
    def num_valued(self) -> int:
        return len(valued(self.trials))

    @property
    def ahead(self) -> float | None:
        """By how much the best beats the best baseline in the search."""
        if not self.baselines:
            return None
        return (self.best.value or 0.0) - (self.baselines[0].value or 0.0)


def collect(opened: OpenedStudy, *, top: int, seeds: int) -> Facts:
    """Read the study, train what its report needs; with ``seeds`` 0 nothing is trained.

    Raises:
        SearchError: The study has nothing to report, or its data are others.
        DataError: Its data cannot be read.
    """
    check_reportable(opened)
    board = leaderboard(opened, top=top, seeds=seeds)
    return Facts(
        name=opened.name,
        key=study_key(opened),
        settings=opened.settings,
        written=datetime.now().astimezone(),
        best=opened.best,
        trials=tuple(opened.trials),
        course=course(opened.trials),
        leaderboard=board,
        pareto=pareto(opened),
        baselines=tuple(row(trial) for trial in opened.leaders if is_baseline(trial)),
        importance=importance(opened.study),
        pruning=pruning(opened.trials, opened.settings),
        categories=categories_of_best(opened) if seeds else None,
        origin=origin(opened, with_data=seeds > 0),
    )


def study_key(opened: OpenedStudy) -> str:
    """What tells the study from others of its name, in plain characters."""
    return file_name(opened.study.user_attrs.get(KEY_ATTR, ""))


def check_reportable(opened: OpenedStudy) -> None:
    """Refuse a study without a COMPLETE trial, and say what would help.

    Raises:
        SearchError: As said.
    """
    if opened.leaders:
        return
    if not opened.trials:
        raise SearchError(
            f"study {opened.name!r} has no trials yet: run some with `python studies.py`"
        )
    failed = [trial for trial in opened.trials if trial.state == TrialState.FAIL]
    if len(failed) == len(opened.trials):
        raise SearchError(
            f"all {len(failed)} trials of study {opened.name!r} failed, the last with "
            f"{failure_reason(failed[-1])!r}: mend the cause, then run the search again"
        )
    within = f" within its limits ({opened.limits})" if opened.limits else ""
    raise SearchError(
        f"study {opened.name!r} has no COMPLETE trial{within} among its {len(opened.trials)}: "
        "wait, or run more trials first"
    )
