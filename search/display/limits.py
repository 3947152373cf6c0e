"""What is said of a study's limits, and of the trials that were over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from optuna.trial import FrozenTrial

from search.limits import described, ended_over, why_over
from search.study import BASELINE_ATTR


def limits_line(trials: Sequence[FrozenTrial], limits: Mapping[str, float]) -> str:
    """``at most 20 MB; 12 trials were over that and not trained``; empty without limits."""
    if not limits:
        return ""
    count = len(ended_over(trials))
    over = {0: "no trial was over that", 1: "1 trial was over that and not trained"}
    return f"{described(limits)}; {over.get(count, f'{count} trials were over that, not trained')}"


def baselines_over(trials: Iterable[FrozenTrial]) -> list[tuple[int, str, str]]:
    """Of each baseline that was over a limit: trial, name, and by what."""
    return [
        (trial.number, str(trial.user_attrs[BASELINE_ATTR]), why_over(trial))
        for trial in ended_over(trials)
        if BASELINE_ATTR in trial.user_attrs
    ]
