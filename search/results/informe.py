"""The students' experiments on our data: run as studies, then measured on the test part, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.display.progress import Progress, make_progress
from search.folders import file_name, write_text
from search.options import SearchOptions
from search.results.findings import Finding, findings
from search.results.opened import OpenedStudy, open_existing
from search.results.repeats import train_again
from search.results.students import Experiment, experiments
from search.results.test_part import score_test_part
from search.run import run_study
from search.study import BASELINE_ATTR, KEY_ATTR, as_students


@dataclass(frozen=True)
class Figures:
    """What one training of an experiment scored with the weights of its best evaluation."""

    seed: int
    validation: float
    test: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """An experiment and its figures, one for each seed; without any it failed, for ``problem``."""

    experiment: Experiment
    figures: tuple[Figures, ...]
    problem: str = ""

    @property
    def test(self) -> float:
        """Balanced accuracy, the mean over the seeds."""
        return mean(found.test for found in self.figures)

    @property
    def test_deviation(self) -> float:
        """Standard deviation over the seeds; 0 with one."""
        return stdev(found.test for found in self.figures) if len(self.figures) > 1 else 0.0

    @property
    def validation(self) -> float:
        return mean(found.validation for found in self.figures)


@dataclass(frozen=True)
class Informe:
    """Both sides of the table, and what it says.

    Attributes:
        data: Name, numbers of titles and categories, where the word vectors come from.
        studies: Names of the studies that hold the trials.
    """

    data: dict[str, Any]
    studies: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def unlearnt(self) -> tuple[Row, ...]:
        """Experiments that score less than twice what guessing one category does."""
        return tuple(r for r in self.rows if r.figures and r.test < 2 / self.data["categories"])

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        for shown, row in zip(found["rows"], self.rows, strict=True):
            if row.figures:
                shown |= {"validation": row.validation, "test": row.test}
        return found


def run_informe(
    options: SearchOptions, models: list[str], *, prefix: str, num_seeds: int
) -> Informe | None:
    """Run what is missing of the experiments and measure them; None if it was interrupted.

    Args:
        options: Data, storage, device and so on; model and budget are the experiments' own.
        prefix: Of the studies' names.
        num_seeds: Trainings of each experiment, from the options' seed upwards.

    Raises:
        SearchError, DataError: As a search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.check()
    seeds = tuple(options.seed + number for number in range(num_seeds))
    rows: list[Row] = []
    studies = []
    for model in models:
        planned = experiments(model, options.max_epochs)
        with make_progress(quiet=options.quiet) as progress:
            study, finished = _run(options, planned, progress, prefix=prefix)
        if not finished:
            return None
        studies.append(study.study_name)
        with make_progress(quiet=options.quiet) as progress:
            opened = _open(options, study.study_name, progress)
            rows += _measure(opened, planned, seeds)
            data = _data(opened)
    done = {row.experiment.name: row.test for row in rows if row.figures}
    return Informe(
        data=data,
        studies=tuple(studies),
        seeds=seeds,
        rows=tuple(rows),
        findings=tuple(
            findings(
                [row.experiment for row in rows if row.figures],
                lambda experiment: done[experiment.name],
            )
        ),
    )


def _run(
    options: SearchOptions, planned: list[Experiment], progress: Progress, *, prefix: str
) -> tuple[optuna.Study, bool]:
    """The experiments of one model as a study of these trials and no others."""
    model, max_epochs = planned[0].model, max(one.epochs for one in planned)
    options = replace(options, model=model, max_epochs=max_epochs)
    only = [(one.params, as_students(one.name)) for one in planned]
    return run_study(options, progress, only=only, prefix=prefix)


def _open(options: SearchOptions, study_name: str, progress: Progress) -> OpenedStudy:
    return open_existing(
        study_name,
        options.storage_url,
        out=options.out,
        device=options.device,
        progress=progress,
    )


def _measure(
    opened: OpenedStudy, planned: list[Experiment], seeds: tuple[int, ...]
) -> Iterator[Row]:
    by_name: dict[str, FrozenTrial] = {}
    for trial in opened.trials:  # a later attempt takes the place of an earlier one
        by_name[trial.user_attrs.get(BASELINE_ATTR, "")] = trial
    for experiment in planned:
        trial = by_name[experiment.name]
        if trial.state != TrialState.COMPLETE:
            problem = str(trial.user_attrs.get("fail_reason", trial.state.name))
            yield Row(experiment, (), problem)
            continue
        yield Row(experiment, tuple(_figures(opened, trial, seed) for seed in seeds))


def _figures(opened: OpenedStudy, trial: FrozenTrial, seed: int) -> Figures:
    """From the folder, or from training again: a trial keeps no weights.

    A file, not an attribute of the study: figures of the test part have no place where searches
    and reports look.
    """
    path = _path(opened, trial, seed)
    try:
        return Figures(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        pass
    except (ValueError, TypeError):
        opened.progress.message(f"{path} is damaged: training trial {trial.number} again")
    name = trial.user_attrs[BASELINE_ATTR]
    opened.progress.remark(f"measuring on the test part: {name}, seed {seed}")
    trained = train_again(opened, opened.config(trial), seed=seed)
    test = score_test_part(opened, trained.model)
    figures = Figures(
        seed=seed,
        validation=trained.best.balanced_accuracy,
        test=test.balanced_accuracy,
        test_accuracy=test.accuracy,
        seconds=round(trained.curve[-1].seconds, 3),
    )
    write_text(path, json.dumps(asdict(figures)))
    return figures


def _path(opened: OpenedStudy, trial: FrozenTrial, seed: int) -> Path:
    key = file_name(opened.study.user_attrs[KEY_ATTR])
    return opened.folder.root / "informe" / key / f"{trial.number}-{seed}.json"


def _data(opened: OpenedStudy) -> dict[str, Any]:
    prepared = opened.inputs.prepared
    vectors = opened.settings.vectors
    return {
        "name": prepared.name,
        "train": len(prepared.train),
        "validation": len(prepared.validation),
        "test": len(prepared.test),
        "categories": len(prepared.labels),
        "vectors": "skip-gram of the train titles" if vectors is None else vectors,
    }
