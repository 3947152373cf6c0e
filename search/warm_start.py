"""A study that starts from the best trials of another one, on these data or others."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.configurations import fitting, spelled
from search.errors import SearchError
from search.objectives import by_accuracy, leaders
from search.options import SearchOptions
from search.results.finding import find_storage, find_study
from search.settings import StudySettings
from search.spaces import UNSAID
from search.study import (
    BASELINE_ATTR,
    KEY_ATTR,
    START_ATTR,
    WARM_START_ATTR,
    Enqueued,
    load_settings,
)

_HAVE_ROOM = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class Taken:
    """What a study takes from another.

    Attributes:
        study: The other study's name.
        key: What tells it from all others, of the same name even.
        model: Its model.
        data: Its data's name.
        trials: Number and value of each trial, the best first.
        params: The parameters of each that are kept.
        skipped: Why others are not, each with the number of its trials.
    """

    study: str
    key: str
    model: str
    data: str
    trials: list[tuple[int, float]]
    params: list[dict[str, Any]]
    skipped: dict[str, int]

    @property
    def enqueued(self) -> list[Enqueued]:
        return [
            (params, {WARM_START_ATTR: f"{self.study} trial {number}"})
            for params, (number, _) in zip(self.params, self.trials, strict=True)
        ]

    def describe(self) -> str:
        """One line for people."""
        numbers = ", ".join(f"{number} ({value:.4f})" for number, value in self.trials)
        noun = "trial" if len(self.trials) == 1 else "trials"
        line = f"starts from {self.study} ({self.model}, {self.data}), {noun} {numbers}"
        if self.skipped:
            reasons = (f"{what} ({count} x)" for what, count in self.skipped.items())
            line += f"; not taken: {'; '.join(reasons)}"
        return line


def take_best(options: SearchOptions) -> Taken | None:
    """The best trials that the options ask for, None without ``--from``; writes nothing.

    Baselines and good starts are left out: a new study has them anyway. Parameters that the
    new study's space lacks, or that it fixes to another value, are left to its sampler.

    Raises:
        SearchError: There is no such study, or nothing in it to start from.
    """
    source = options.warm_start
    if source is None:
        return None
    storage = find_storage(source.storage_url or options.storage_url, out=options.out)
    try:
        study = find_study(storage, source.study_name)
        settings = load_settings(study)
        trials = study.get_trials(deepcopy=False)
    finally:
        storage.close()
    best = _distinct_best(trials)[: source.num_trials]
    if not best:
        raise SearchError(
            f"--from {source.study_name}: it has no COMPLETE trial"
            f"{' within its limits' if settings.limits else ''} besides its first ones; "
            "run more trials of it, or leave --from out"
        )
    taken = _take(best, study.user_attrs[KEY_ATTR], settings, options)
    if not taken.trials:
        raise SearchError(
            f"--from {source.study_name}: nothing of its best trials fits "
            f"({'; '.join(taken.skipped)})"
        )
    return taken


def starting_with(taken: Taken | None, own: list[Enqueued]) -> list[Enqueued]:
    """The first trials of a new study: what it takes from another, then its own."""
    if taken is None:
        return own
    named = [params for params, _ in own]
    return [found for found in taken.enqueued if found[0] not in named] + own


def enqueue_best(study: optuna.Study, taken: Taken, *, n_trials: int) -> bool:
    """Enqueue in a study what it takes, no more than its budget has room for, and remember it.

    Returns:
        False if the study has been started from that one before: then nothing is done.

    Raises:
        SearchError: They are one and the same.
    """
    if taken.key == study.user_attrs[KEY_ATTR]:
        raise SearchError(
            f"--from {taken.study} is the study itself; name the new one with --study NAME"
        )
    stored = json.loads(study.user_attrs.get(WARM_START_ATTR, "{}"))
    if taken.key in stored:
        return False
    trials = study.get_trials(deepcopy=False, states=_HAVE_ROOM)
    here = {t.user_attrs.get(WARM_START_ATTR) for t in trials}
    room = max(0, n_trials - len(trials))
    new = [found for found in taken.enqueued if found[1][WARM_START_ATTR] not in here]
    for params, attributes in new[:room]:
        study.enqueue_trial(params, user_attrs=attributes, skip_if_exists=True)
    stored[taken.key] = {key: value for key, value in asdict(taken).items() if key != "params"}
    study.set_user_attr(WARM_START_ATTR, json.dumps(stored))
    return True


def _distinct_best(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    found: dict[str, FrozenTrial] = {}
    for trial in leaders(trials):
        if trial.user_attrs.keys().isdisjoint((BASELINE_ATTR, START_ATTR)):
            found.setdefault(json.dumps(trial.params, sort_keys=True), trial)
    return [by_accuracy(trial) for trial in found.values()]


def _take(
    best: list[FrozenTrial], key: str, settings: StudySettings, options: SearchOptions
) -> Taken:
    assert options.warm_start is not None
    fixed = options.fixed_params
    skipped: Counter[str] = Counter()
    trials, kept = [], []
    for trial in best:
        own = {**UNSAID.get((settings.model, settings.space), {}), **trial.params}
        params, refused = fitting(own, options.model, options.epochs)
        for name, value in fixed.items():
            if params.pop(name, value) != value:
                refused.append(f"{spelled({name: own[name]})}: --set fixes it")
        skipped.update(refused)
        if params and {**params, **fixed} not in kept:
            trials.append((trial.number, float(trial.value or 0.0)))
            kept.append({**params, **fixed})
    return Taken(
        study=options.warm_start.study_name,
        key=key,
        model=settings.model,
        data=settings.data_name,
        trials=trials,
        params=kept,
        skipped=dict(skipped),
    )
