"""The best trial of a study as a model to take away: chosen, trained, tested once, written."""

from __future__ import annotations

import json
import shlex
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from models.training import Diverged
from prediction.predictor import open_predictor
from search.display.progress import make_progress
from search.errors import SearchError
from search.folders import file_name
from search.results.model_card import model_card
from search.results.model_folder import check_target, new_folder, write_model, writing
from search.results.opened import OpenedStudy, open_existing
from search.results.registry import check_registry, register_model
from search.results.repeats import Repeat, Trained, remember_choice, repeats, train_again
from search.results.test_part import TestFigures, evaluate_on_test
from search.results.versions import versions

METRICS = "metrics.json"
VERSIONS = "versions.json"


@dataclass(frozen=True)
class ExportOptions:
    study_name: str | None
    storage_url: str | None
    out: Path
    top: int
    trial: int | None
    seeds: int
    to: Path | None
    register: str | None
    tracking_uri: str | None
    device: str
    quiet: bool
    data: str | None = None
    vectors: Path | None = None

    def check(self) -> None:
        """Raises SearchError for options that contradict themselves."""
        for name in ("top", "seeds"):
            if getattr(self, name) < 1:
                raise SearchError(f"--{name} is {getattr(self, name)}: give 1 or more")
        if self.trial is not None and self.top > 1:
            raise SearchError("--trial takes one trial, --top chooses among several: give one")


@dataclass(frozen=True)
class Candidate:
    """A trial, and what its configuration scored on validation with each seed."""

    trial: FrozenTrial
    repeats: tuple[Repeat, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(repeat.balanced_accuracy for repeat in self.repeats)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None with a single one."""
        values = [repeat.balanced_accuracy for repeat in self.repeats]
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Export:
    """An exported model: all there is to say about it."""

    opened: OpenedStudy
    candidates: tuple[Candidate, ...]
    trained: Trained
    figures: TestFigures

    @property
    def chosen(self) -> Candidate:
        return self.candidates[0]

    @property
    def repeated_exactly(self) -> bool:
        """Whether training gave the very value that the search had stored."""
        return self.trained.best.balanced_accuracy == self.chosen.trial.value


def run_export(options: ExportOptions) -> Export:
    """Export a model as the options say, and print what was done.

    Raises:
        SearchError, DataError: The user can do something about it.
    """
    options.check()
    uri = None
    if options.register is not None:
        uri = check_registry(
            options.register,
            options.tracking_uri,
            options.out,
            storage_url=options.storage_url,
        )
    with make_progress(quiet=options.quiet) as progress:
        opened = open_existing(
            options.study_name,
            options.storage_url,
            out=options.out,
            device=options.device,
            progress=progress,
            data=options.data,
            vectors=options.vectors,
        )
        trials = _trials(opened, options)
        target = options.to or opened.folder.exports / file_name(opened.name)
        check_target(target)
        with new_folder(target) as folder:
            export = _export(opened, trials, num_seeds=options.seeds, folder=folder, target=target)
    _print(export, target)
    if options.register is not None and uri is not None:
        print(register_model(export, target, options.register, uri))
    return export


def _trials(opened: OpenedStudy, options: ExportOptions) -> list[FrozenTrial]:
    """The trials to choose among."""
    if options.trial is None:
        return [opened.best, *opened.leaders[1 : options.top]]
    for trial in opened.trials:
        if trial.number == options.trial:
            if trial.state != TrialState.COMPLETE:
                raise SearchError(
                    f"trial {trial.number} of study {opened.name!r} is {trial.state.name}: "
                    "give a COMPLETE one, or none for the best"
                )
            return [trial]
    raise SearchError(
        f"study {opened.name!r} has no trial {options.trial}: its {len(opened.trials)} trials "
        "are numbered from 0"
    )


def _export(
    opened: OpenedStudy,
    trials: list[FrozenTrial],
    *,
    num_seeds: int,
    folder: Path,
    target: Path,
) -> Export:
    seeds = range(opened.settings.seed, opened.settings.seed + num_seeds)
    try:
        if len(trials) > 1:
            remember_choice(opened, [seed for seed in seeds if seed != opened.settings.seed])
        candidates = [Candidate(t, tuple(repeats(opened, t, seeds))) for t in trials]
        candidates.sort(key=lambda candidate: -candidate.mean)  # stable: else the better value
        chosen = candidates[0].trial
        opened.progress.remark(f"training trial {chosen.number} to export it")
        trained = train_again(opened, opened.config(chosen))
    except Diverged as error:
        raise SearchError(f"{error}: choose another trial with --trial N") from error
    prepared = opened.inputs.prepared
    with writing(target):
        write_model(
            folder,
            trained.model,
            vocabulary=prepared.vocabulary,
            labels=prepared.labels,
            cleaning=opened.settings.data_spec().cleaning,
        )
    predictor = open_predictor(folder, verify=False)
    export = Export(
        opened, tuple(candidates), trained, evaluate_on_test(opened, chosen, predictor)
    )
    with writing(target):
        for name, content in ((METRICS, _metrics(export)), (VERSIONS, versions())):
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (folder / name).write_text(text + "\n", "utf-8")
        (folder / "README.md").write_text(model_card(export), "utf-8")
    return export


def _metrics(export: Export) -> dict[str, Any]:
    """The figures for programs."""
    best = export.trained.best
    return {
        "study": export.opened.name,
        "trial": export.chosen.trial.number,
        "parameters": export.chosen.trial.params,
        "seed": export.trained.config.training.seed,
        "test": asdict(export.figures),
        "validation": {
            "balanced_accuracy": best.balanced_accuracy,
            "accuracy": best.accuracy,
            "loss": best.loss,
            "epoch": best.epoch,
            "stored_by_the_search": export.chosen.trial.value,
            "repeated_exactly": export.repeated_exactly,
        },
        "candidates": [
            {
                "trial": candidate.trial.number,
                "value": candidate.trial.value,
                "mean": candidate.mean,
                "standard_deviation": candidate.deviation,
                "by_seed": {r.seed: r.balanced_accuracy for r in candidate.repeats},
            }
            for candidate in export.candidates
        ],
    }


def _print(export: Export, target: Path) -> None:
    chosen, figures = export.chosen, export.figures
    low, high = figures.balanced_accuracy_interval
    spread = ""
    if chosen.deviation is not None:
        spread = (
            f"; mean of {len(chosen.repeats)} seeds {chosen.mean:.4f} ± {chosen.deviation:.4f}"
        )
    print(
        f"Trial {chosen.trial.number} of {export.opened.name}: validation balanced accuracy "
        f"{export.trained.best.balanced_accuracy:.4f}{spread}"
    )
    if not export.repeated_exactly:
        print(
            f"  not the {chosen.trial.value:.4f} of the search: other processor, threads or "
            "versions train a little differently"
        )
    print(
        f"Test: balanced accuracy {figures.balanced_accuracy:.4f} ({low:.4f} to {high:.4f}), "
        f"accuracy {figures.accuracy:.4f}, {figures.titles:,} titles"
    )
    if figures.trials_before:
        print(
            f"  {figures.trials_before} other trials of this study were evaluated on the test "
            "part before: choosing among them by these figures would make them too good"
        )
    print(f"Written to {target}: its README.md says more")
    predict = ["python", "studies.py", "predict", "--model", str(target), "a title"]
    print(f"\nNext:\n  {shlex.join(predict)}")
