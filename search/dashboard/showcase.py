"""Keeps the dashboard's note and the pages of the best trials up to date, between trials.

After the end of a trial is stored and from weights that are still in memory, so it costs one
evaluation, and only for a trial that is among the best when it ends. What goes wrong here is
said once and ends no trial.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial

from data_utils import PreparedData
from data_utils.safe_text import for_markdown
from models.training import Evaluation, Trainer
from search.dashboard.attributes import artifact_address, artifact_attribute, note_attributes
from search.dashboard.confusions import Confusion, answers_of, as_csv, hardest
from search.dashboard.note import refresh_note, table
from search.dashboard.pictures import confusion_picture, curve_picture
from search.display.names import trial_name
from search.errors import StorageLost
from search.objectives import by_accuracy, may_be_best
from search.storage.operations import StudyStorage
from search.storage.system_attributes import swap_system_attributes

_AMONG_BEST = 3
_IN_NOTE = 5
_KINDS = {".svg": "image/svg+xml", ".csv": "text/csv"}


class Showcase:
    """One worker's part in what the dashboard shows.

    Args:
        folder: Where the dashboard finds files: its ``--artifact-dir``.
        log_text: Is given each file of a trial, too: (root, text, name).
        notify: Gets a line when something cannot be shown.
    """

    def __init__(
        self,
        storage: StudyStorage,
        study: optuna.Study,
        prepared: PreparedData,
        *,
        folder: Path,
        log_text: Callable[[int, str, str], None],
        notify: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._study = study
        self._prepared = prepared
        self._folder = folder
        self._log_text = log_text
        self._notify = notify
        self._has_failed = False

    def trial_ended(
        self,
        trials: Sequence[FrozenTrial],
        number: int,
        trainer: Trainer | None,
        curve: list[Evaluation],
    ) -> str:
        """Show a trial; the study's note if that has changed, else nothing.

        ``trials`` are the study's, read after the end. ``trainer``, None if the trial isn't
        COMPLETE, ends up with its best weights.

        Raises:
            StorageLost: The storage was out of reach for as long as a worker waits for it.
        """
        try:
            trial = by_accuracy(trials[number])
            if trainer is not None and _is_among_best(trial, trials):
                self._show(trial, trainer, curve)
            return refresh_note(self._storage, self._study, trials)
        except StorageLost:
            raise
        except Exception as error:
            logging.getLogger(__name__).debug("not shown", exc_info=True)
            if not self._has_failed:
                reason = (str(error).splitlines() or [""])[0]
                self._notify(f"optuna-dashboard lacks a part: {type(error).__name__}: {reason}")
            self._has_failed = True
            return ""

    def _show(self, trial: FrozenTrial, trainer: Trainer, curve: list[Evaluation]) -> None:
        answers = answers_of(trainer)
        confusions = hardest(self._prepared, answers)
        truth = np.asarray(self._prepared.validation.labels, np.int64)
        title = f"Trial {trial.number}: balanced accuracy {trial.value:.4f}"
        files = {
            "confusions.svg": confusion_picture(
                truth, answers, self._prepared.labels, title=title
            ),
            "learning-curve.svg": curve_picture(curve, title=title),
            "hardest-confusions.csv": as_csv(confusions),
        }
        store = FileSystemArtifactStore(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        attributes: dict[str, str] = {}
        ids: dict[str, str] = {}
        for name, text in files.items():
            ids[name] = str(uuid.uuid4())
            store.write(ids[name], BytesIO(text.encode()))
            kind = _KINDS[Path(name).suffix]
            attributes |= artifact_attribute(trial._trial_id, ids[name], name=name, kind=kind)
            self._log_text(trial.user_attrs["root"], text, name)
        study_id = self._study._study_id
        pictures = {
            name: artifact_address(study_id, trial._trial_id, ids[name])
            for name in files
            if name.endswith(".svg")
        }
        text = _trial_note(trial, confusions, pictures)
        # A person may have written a note on the trial meanwhile: then that stays.
        note, expected = note_attributes(text, {}, trial_id=trial._trial_id)
        swap_system_attributes(self._storage, study_id, attributes, expected={})
        swap_system_attributes(self._storage, study_id, note, expected=expected)


def _is_among_best(trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> bool:
    others = filter(may_be_best, map(by_accuracy, trials))
    better = sum((other.value or 0.0) > (trial.value or 0.0) for other in others)
    return may_be_best(trial) and better < _AMONG_BEST


def _trial_note(trial: FrozenTrial, confusions: list[Confusion], pictures: dict[str, str]) -> str:
    text = f"{for_markdown(trial_name(trial.params, trial.user_attrs))}\n\n"
    text += "".join(f"![{name}]({address})\n\n" for name, address in pictures.items())
    rows = [
        (found.category, found.answer, f"{found.count} of {found.titles}", found.example)
        for found in confusions[:_IN_NOTE]
    ]
    return text + table(("category", "taken for", "titles", "for example"), rows) if rows else text
