"""A configuration of a study trained again, with the study's seed or another.

One training tells little: with another seed the same configuration scores some tenths of a
point higher or lower. What a repeat scored on the validation part is kept on the study, so that
a report, an export and a comparison share their repeats. The test part has no place here.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial

from models import TitleClassifier
from models.training import Evaluation, Trainer
from search.results.opened import OpenedStudy
from search.spaces import TrialConfig

# User attribute of a study: the seeds by which an export chose among its trials.
_CHOICE = "seeds_of_choice"


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best evaluation, and how it came to them."""

    config: TrialConfig
    model: TitleClassifier
    curve: tuple[Evaluation, ...]

    @property
    def best(self) -> Evaluation:
        return max(reversed(self.curve), key=lambda found: (found.is_best, found.step))


@dataclass(frozen=True)
class Repeat:
    """What one training of a trial's configuration scored on the validation part."""

    seed: int
    balanced_accuracy: float
    accuracy: float
    loss: float
    epochs: float
    seconds: float


def train_again(
    opened: OpenedStudy,
    config: TrialConfig,
    *,
    seed: int | None = None,
    on_evaluation: Callable[[Evaluation, Trainer], Any] | None = None,
) -> Trained:
    """Train ``config`` to its end; ``seed`` None is the config's own, and repeats it to the bit.

    Raises:
        models.training.Diverged: The loss is no number.
    """
    if seed is not None:
        config = replace(config, training=replace(config.training, seed=seed))
    trainer = opened.data.trainer(config)
    curve = []
    for evaluation in trainer.run():
        curve.append(evaluation)
        if on_evaluation is not None:
            on_evaluation(evaluation, trainer)
    trainer.model.load_state_dict(trainer.best_state)
    return Trained(config, trainer.model, tuple(curve))


def repeats(opened: OpenedStudy, trial: FrozenTrial, seeds: Sequence[int]) -> Iterator[Repeat]:
    """The trial's configuration with each of ``seeds``; trained if it was not before."""
    for seed in seeds:
        found = stored_repeats(opened, trial).get(seed)
        if found is None:
            found = _repeat(opened, trial, seed)
            opened.study.set_user_attr(_key(trial, seed), json.dumps(asdict(found)))
        yield found


def remember_choice(opened: OpenedStudy, seeds: Sequence[int]) -> None:
    """Note that a trial was picked among several for its values with these seeds."""
    known = seeds_of_choice(opened) | set(seeds)
    opened.study.set_user_attr(_CHOICE, sorted(known))


def seeds_of_choice(opened: OpenedStudy) -> set[int]:
    """The seeds by which trials of the study were picked: what they score there flatters them."""
    return set(opened.study.user_attrs.get(_CHOICE, []))


def new_seeds(first: int, count: int, picked_by: Container[int]) -> list[int]:
    """The first ``count`` seeds from ``first`` on by which nothing was picked."""
    return list(
        itertools.islice((seed for seed in itertools.count(first) if seed not in picked_by), count)
    )


def stored_repeats(opened: OpenedStudy, trial: FrozenTrial) -> dict[int, Repeat]:
    """What is known of the trial's configuration, by seed; the trial itself is one of them."""
    prefix = _key(trial, "")
    found = [
        Repeat(**json.loads(text))
        for name, text in opened.study.user_attrs.items()
        if name.startswith(prefix)
    ]
    attributes = trial.user_attrs
    if trial.value is not None and "accuracy" in attributes:
        own = Repeat(
            seed=opened.settings.seed,
            balanced_accuracy=trial.value,
            accuracy=attributes["accuracy"],
            loss=attributes["loss"],
            epochs=attributes["epochs"],
            seconds=attributes["seconds"],
        )
        found.append(own)
    return {repeat.seed: repeat for repeat in found}


def _repeat(opened: OpenedStudy, trial: FrozenTrial, seed: int) -> Repeat:
    opened.progress.remark(f"trial {trial.number} again, with seed {seed}")
    trained = train_again(opened, opened.config(trial), seed=seed)
    best = trained.best
    return Repeat(
        seed=seed,
        balanced_accuracy=best.balanced_accuracy,
        accuracy=best.accuracy,
        loss=best.loss,
        epochs=trained.curve[-1].epoch,
        seconds=round(trained.curve[-1].seconds, 3),
    )


def _key(trial: FrozenTrial, seed: int | str) -> str:
    return f"repeat:{trial.number}:{seed}"
