"""What a study optimises: balanced accuracy, and if asked for what a network costs.

With several objectives no trial need be the best: those that no other beats in everything form
the Pareto front. Where one trial is needed, as for an export, it is the one of the front with the
greatest balanced accuracy. That is a trial's first value, whatever else is asked for.

Whatever names a best trial asks ``leaders`` or ``pareto_front`` (or a database, with
``search.storage.rows.within_limits``): a trial over a limit of its study is nowhere the best.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from search.errors import SearchError
from search.limits import is_over

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

BALANCED_ACCURACY, LATENCY, SIZE = "balanced_accuracy", "latency", "size"
#: What each is called on axes and in tables, in the order of a trial's values.
METRIC_NAMES = {
    BALANCED_ACCURACY: "validation balanced accuracy",
    LATENCY: "latency in ms",
    SIZE: "size in MB",
}
ONE_OBJECTIVE = (BALANCED_ACCURACY,)
#: Which samplers Optuna has for several objectives, as far as they are offered here.
SAMPLERS_OF_SEVERAL = ("tpe", "random")


def parse_objectives(text: str) -> tuple[str, ...]:
    """The objectives of ``balanced_accuracy,latency``, balanced accuracy first.

    Raises:
        SearchError: One is unknown or named twice, or balanced accuracy is missing.
    """
    named = [name.strip() for name in text.split(",")]
    known = [name for name in METRIC_NAMES if name in named]
    if sorted(known) != sorted(named) or BALANCED_ACCURACY not in named:
        raise SearchError(
            f"--objectives is {text!r}; give {BALANCED_ACCURACY}, and beside it "
            f"{LATENCY}, {SIZE} or both, with commas between"
        )
    return tuple(known)


def directions_of(objectives: Sequence[str]) -> list[Literal["maximize", "minimize"]]:
    """As Optuna takes them."""
    return ["maximize" if name == BALANCED_ACCURACY else "minimize" for name in objectives]


def by_accuracy(trial: FrozenTrial) -> FrozenTrial:
    """The trial as if balanced accuracy were all that was asked for: that is its ``value``."""
    if trial.values is None or len(trial.values) < 2:
        return trial
    shown = copy.copy(trial)
    shown.values = trial.values[:1]
    return shown


def trials_by_accuracy(study: optuna.Study) -> list[FrozenTrial]:
    """All trials of the study, by number, each as ``by_accuracy`` shows it."""
    return [by_accuracy(trial) for trial in study.get_trials(deepcopy=False)]


def may_be_best(trial: FrozenTrial) -> bool:
    """Whether the trial can be the best: it is COMPLETE, and over no limit."""
    return trial.state.name == "COMPLETE" and not is_over(trial)


def leaders(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those that may be the best, the greatest balanced accuracy first; then what costs less, then
    the earlier one. The first of them is therefore on the Pareto front."""

    def key(trial: FrozenTrial) -> tuple[Any, ...]:
        accuracy, *costs = trial.values
        return (-accuracy, *costs, trial.number)

    return sorted(filter(may_be_best, trials), key=key)


def pareto_front(study: optuna.Study) -> list[FrozenTrial]:
    """The leaders that no other beats in every objective, in their order; none if the study has
    one objective."""
    return leaders(study.best_trials) if len(study.directions) > 1 else []
