"""Other ways to a classifier of the same titles, each given the same wall time.

Each returns what it found as ``Found``: the best validation figure over time, and the test figure
of its choice, which is made by validation alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import optuna

from data_utils import PreparedData, Titles

#: seconds since the start, best validation balanced accuracy so far
Point = tuple[float, float]


@dataclass
class Found:
    """What a method found.

    Attributes:
        seconds: What it took; methods that cannot be stopped take a little more than they may.
        validation, test: Balanced accuracy of its choice; None if it had none in time.
        trials: Configurations that it tried.
        curve: The best so far, whenever it changed.
    """

    seconds: float = 0.0
    validation: float | None = None
    test: float | None = None
    trials: int = 0
    curve: list[Point] = field(default_factory=list)

    def improved(self, seconds: float, value: float) -> bool:
        """Note a figure; whether it is the best so far."""
        if self.curve and value <= self.curve[-1][1]:
            return False
        self.curve.append((round(seconds, 2), value))
        self.validation = value
        return True


class OutOfTime(Exception):
    """The time of the method is over."""


def raw_texts(titles: Titles) -> list[str]:
    """The titles as they stood in the source: rivals clean as they like."""
    return [titles.text(index) for index in range(len(titles))]


def linear(prepared: PreparedData, *, seconds: float, seed: int, threads: int) -> Found:
    """TF-IDF and a linear SVM, tuned by Optuna's default sampler, several trials at once."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    started = time.perf_counter()
    texts = {name: raw_texts(getattr(prepared, name)) for name in ("train", "validation", "test")}
    found = Found()

    def objective(trial: optuna.Trial) -> float:
        characters = trial.suggest_categorical("analyzer", ["word", "char_wb"])
        shortest = 1 if characters == "word" else 2
        longest = trial.suggest_int("longest", 1, 3) + (0 if characters == "word" else 2)
        vectorizer = TfidfVectorizer(
            analyzer=characters,
            ngram_range=(shortest, longest),
            sublinear_tf=trial.suggest_categorical("sublinear_tf", [True, False]),
            min_df=trial.suggest_int("min_df", 1, 3),
        )
        train = vectorizer.fit_transform(texts["train"])
        model = LinearSVC(
            C=trial.suggest_float("C", 1e-2, 1e2, log=True),
            class_weight=trial.suggest_categorical("class_weight", [None, "balanced"]),
            random_state=seed,
        )
        model.fit(train, prepared.train.labels)
        at = time.perf_counter() - started
        if at > seconds:
            raise OutOfTime
        scores = {
            name: float(
                balanced_accuracy_score(
                    getattr(prepared, name).labels,
                    model.predict(vectorizer.transform(texts[name])),
                )
            )
            for name in ("validation", "test")
        }
        if found.improved(at, scores["validation"]):
            found.test = scores["test"]
        return scores["validation"]

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    study.optimize(objective, timeout=seconds, n_jobs=threads, catch=(OutOfTime,))
    found.seconds = time.perf_counter() - started
    found.trials = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
    return found
