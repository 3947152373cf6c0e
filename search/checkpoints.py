"""Where the checkpoints of a study's running trials are kept.

One file per trial, named by the number of its first attempt and the step that it holds, so that a
retried trial finds what an earlier attempt left. The file of a finished trial is removed: on disk
there is at most one per trial in flight, and for a moment two.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.trial import FrozenTrial

from models.checkpoints import load_checkpoint, save_checkpoint, state_bytes

_NAME = re.compile(r"trial-(\d+)-step-(\d+)\.pt")

# A checkpoint of unfrozen embeddings is several times the embedding table: it is put off until
# saving costs no more than this share of the training that it protects.
COST_FRACTION = 0.02
LEAST_SECONDS = 1.0
# What is taken for the disk's rate before the first checkpoints: so many bytes in a second. Small
# ones take the time of any file, and say nothing of it.
_BYTES_IN_A_SECOND = 300e6
_TELLING_BYTES = 10_000_000


class CheckpointStore:
    """Checkpoints of one study in ``folder``; safe for many workers that share the folder.

    A trial belongs to one worker at a time, so no two write the same trial's file.
    """

    def __init__(self, folder: Path, study_name: str) -> None:
        self._folder = folder / quote(study_name, safe="")
        self._written, self._seconds = _BYTES_IN_A_SECOND, 1.0

    def is_worth(self, state: dict[str, Any], seconds: float) -> bool:
        """Whether so many ``seconds`` of training are worth what saving ``state`` takes."""
        cost = state_bytes(state) * self._seconds / self._written
        return seconds >= max(LEAST_SECONDS, cost / COST_FRACTION)

    def step(self, root: int) -> int:
        """The last step that a checkpoint of trial ``root`` holds; 0 if there is none."""
        return max(self._files(root), default=0)

    def save(self, root: int, state: dict[str, Any], step: int) -> None:
        """Write ``state`` as of ``step``, then remove what an earlier step left.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        save_checkpoint(state, self._folder / f"trial-{root}-step-{step}.pt")
        if (size := state_bytes(state)) >= _TELLING_BYTES:
            self._written += size
            self._seconds += time.perf_counter() - started
        for older, path in self._files(root).items():
            if older != step:
                path.unlink(missing_ok=True)

    def load(self, root: int, step: int) -> dict[str, Any]:
        """The state that ``save`` wrote.

        Raises:
            FileNotFoundError: There is none for this step.
            models.checkpoints.DamagedCheckpoint: The file is damaged.
        """
        return load_checkpoint(self._folder / f"trial-{root}-step-{step}.pt")

    def remove(self, root: int) -> None:
        """Forget trial ``root``: it has finished."""
        for path in self._files(root).values():
            path.unlink(missing_ok=True)

    def remove_ended(self, trials: Sequence[FrozenTrial]) -> None:
        """Forget those whose last attempt has ended: cancelled in the queue, or given up with
        the worker that could have removed them.

        Args:
            trials: All attempts of the study.
        """
        roots = [(trial.user_attrs.get("root", trial.number), trial.state) for trial in trials]
        ended = {root for root, _ in roots} - {r for r, state in roots if not state.is_finished()}
        for path in self._folder.glob("trial-*-step-*.pt"):
            if (match := _NAME.fullmatch(path.name)) and int(match[1]) in ended:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all trials: the study is deleted.

        Raises:
            OSError: A file cannot be removed.
        """
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _files(self, root: int) -> dict[int, Path]:
        if not self._folder.is_dir():
            return {}
        found = {}
        for path in self._folder.glob(f"trial-{root}-step-*.pt"):
            if match := _NAME.fullmatch(path.name):
                found[int(match[2])] = path
        return found
