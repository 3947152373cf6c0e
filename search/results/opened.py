"""A study that exists, opened to read it and to train its configurations again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import optuna
import torch
from optuna.trial import BaseTrial, FrozenTrial

from search.display.progress import Progress
from search.errors import SearchError
from search.folders import OutputFolder
from search.inputs import Inputs, TrainingData, load_study_inputs, pick_device, prepare_training
from search.limits import described
from search.objectives import by_accuracy, leaders, pareto_front, trials_by_accuracy
from search.results.finding import find_storage, find_study
from search.settings import StudySettings
from search.spaces import SEARCH_SPACES, Task, TrialConfig
from search.storage.overrides import SearchStorage
from search.study import load_settings, task_of


@dataclass(frozen=True)
class OpenedStudy:
    """A stored study. Its titles and vectors are prepared when they are first asked for.

    ``data_here`` and ``vectors_here`` say where they are, if elsewhere than the study has it.
    """

    storage: SearchStorage
    study: optuna.Study
    settings: StudySettings
    folder: OutputFolder
    device: torch.device
    progress: Progress
    data_here: str | None = None
    vectors_here: Path | None = None

    @property
    def name(self) -> str:
        return self.study.study_name

    @cached_property
    def trials(self) -> list[FrozenTrial]:
        """All attempts, by number, as they stood when first asked for; with their balanced
        accuracy alone."""
        return trials_by_accuracy(self.study)

    @cached_property
    def leaders(self) -> list[FrozenTrial]:
        """The COMPLETE trials within the study's limits, the best first; where values are equal,
        what costs less, then the earlier one."""
        return [by_accuracy(trial) for trial in leaders(self.study.get_trials(deepcopy=False))]

    @cached_property
    def front(self) -> list[FrozenTrial]:
        """The Pareto front with all values, the greatest balanced accuracy first; empty with one
        objective."""
        return pareto_front(self.study)

    @property
    def limits(self) -> str:
        """What the study allows a network to cost, in words; empty without limits."""
        return described(self.settings.limits)

    @cached_property
    def best(self) -> FrozenTrial:
        """The best of the leaders; with several objectives, which is then said, the one of the
        Pareto front with the greatest balanced accuracy.

        Raises:
            SearchError: There is none.
        """
        if not self.leaders:
            within = f" within its limits ({most})" if (most := self.limits) else ""
            raise SearchError(
                f"study {self.name!r} has no COMPLETE trial{within} among its {len(self.trials)}: "
                f"run more trials first{', or another study with other limits' if within else ''}"
            )
        best = self.leaders[0]
        if self.front:
            self.progress.message(
                f"trial {best.number} has the greatest balanced accuracy of the "
                f"{len(self.front)} on the Pareto front of {self.name}"
            )
        return best

    @cached_property
    def inputs(self) -> Inputs:
        """Titles and word vectors.

        Raises:
            SearchError, DataError: They cannot be read here, or are others than the study's.
        """
        return load_study_inputs(
            self.settings,
            self.name,
            data=self.data_here,
            vectors=self.vectors_here,
            cache_folder=self.folder.cache,
            progress=self.progress,
        )

    @cached_property
    def data(self) -> TrainingData:
        """The train and validation parts on the device."""
        return TrainingData(self.inputs, cache_folder=self.folder.cache, device=self.device)

    @cached_property
    def task(self) -> Task:
        return task_of(self.settings, self.inputs.prepared)

    def config(self, trial: BaseTrial) -> TrialConfig:
        """The network and training that a trial stands for."""
        return SEARCH_SPACES[self.settings.model](trial, self.task)


def open_existing(
    study_name: str | None,
    storage_url: str | None,
    *,
    out: Path,
    device: str = "auto",
    progress: Progress,
    data: str | None = None,
    vectors: Path | None = None,
) -> OpenedStudy:
    """The study of this name; without a name, the only one in the storage.

    Args:
        data, vectors: Where the study's own are here, if elsewhere.

    Raises:
        SearchError: There is no such study, or several to choose from.
    """
    prepare_training()
    folder = OutputFolder(out)
    storage = find_storage(storage_url, out=out)
    study = find_study(storage, study_name)
    return OpenedStudy(
        storage,
        study,
        load_settings(study),
        folder,
        pick_device(device),
        progress,
        data_here=data,
        vectors_here=vectors,
    )
