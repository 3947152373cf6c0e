"""Where the checkpoints of a study's running trials are kept.

One file per trial, named by the number of its first attempt and the step that it holds, in a
folder that the study's key names, so that a retried trial finds what an earlier attempt left. In
the file stands whose it is. The file of a finished trial is removed: on disk there is at most one
per trial in flight, and for a moment two.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.trial import FrozenTrial

from models.checkpoints import load_checkpoint, save_checkpoint, state_bytes
from search.folders import file_name

logger = logging.getLogger(__name__)

#: Of a file: raised when a trainer's state, or what it means to go on from one, changes.
FORMAT = 2
_NAME = re.compile(r"trial-(\d+)-step-(\d+)\.pt")
_PARTIAL = re.compile(r"\.trial-(\d+)-step-\d+\.pt\..+")
# Longer than anyone writes at one file.
_OLD_SECONDS = 24 * 3600.0

# A checkpoint of unfrozen embeddings is several times the embedding table: it is put off until
# saving costs no more than this share of the training that it protects.
COST_FRACTION = 0.02
LEAST_SECONDS = 1.0
# What is taken for the disk's rate before the first checkpoints: so many bytes in a second. Small
# ones take the time of any file, and say nothing of it.
_BYTES_IN_A_SECOND = 300e6
_TELLING_BYTES = 10_000_000


class ForeignCheckpoint(ValueError):
    """The file is another trial's, or has a form that this version does not know."""


class CheckpointStore:
    """Checkpoints of one study in ``folder``; safe for many workers that share the folder.

    A trial belongs to one worker at a time, so no two write the same trial's file. A file that
    cannot be written or removed costs a line, which is said once for each cause.

    Args:
        study_key: Of the study whose trials they are.
        fingerprints: ``data`` and ``vectors``: what the study trains on.
        origin_key: Of the study that this one is a copy of: what it left is read, and neither
            written nor removed.
        study_name: What versions before format 2 named the folder by: the same holds for that.
        notify: Gets the lines.
    """

    def __init__(
        self,
        folder: Path,
        study_key: str,
        *,
        fingerprints: Mapping[str, str],
        origin_key: str | None = None,
        study_name: str | None = None,
        notify: Callable[[str], None] = logger.warning,
    ) -> None:
        self._folder = folder / file_name(study_key)
        self._sources = [self._folder]
        if origin_key is not None:
            self._sources.append(folder / file_name(origin_key))
        if study_name is not None and (unkeyed := _unkeyed(study_name)):
            self._sources.append(folder / unkeyed)
        self._keys = (study_key, origin_key)
        self._fingerprints = dict(fingerprints)
        self._notify = notify
        self._causes: set[object] = set()
        self._written, self._seconds = _BYTES_IN_A_SECOND, 1.0

    def is_worth(self, state: dict[str, Any], seconds: float) -> bool:
        """Whether so many ``seconds`` of training are worth what saving ``state`` takes."""
        cost = state_bytes(state) * self._seconds / self._written
        return seconds >= max(LEAST_SECONDS, cost / COST_FRACTION)

    def step(self, root: int) -> int:
        """The last step that a checkpoint of trial ``root`` holds; 0 if there is none."""
        for source in self._sources:
            if files := self._files(root, source):
                return max(files)
        return 0

    def save(self, root: int, state: dict[str, Any], step: int, *, configuration: str) -> None:
        """Write ``state`` as of ``step``, then remove what an earlier step left.

        Args:
            configuration: ``params_key`` of the trial.
        """
        path = self._folder / _file(root, step)
        content = {
            "format": FORMAT,
            "study": self._keys[0],
            "configuration": configuration,
            **self._fingerprints,
            "state": state,
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            started = time.perf_counter()
            save_checkpoint(content, path)
        except OSError as error:
            self._say(
                f"no checkpoint is saved in {self._folder} ({error.strerror or error}): training "
                "goes on, and what is interrupted repeats more",
                cause=error.errno,
            )
            return
        if (size := state_bytes(state)) >= _TELLING_BYTES:
            self._written += size
            self._seconds += time.perf_counter() - started
        others = self._files(root, self._folder).values()
        self._remove([*(other for other in others if other != path), *self._partial(root)])

    def load(self, root: int, step: int, *, configuration: str) -> dict[str, Any]:
        """The state that ``save`` wrote of this configuration.

        Of a file without a format nothing but the step is known here.

        Raises:
            OSError: There is none for this step, or it cannot be read.
            models.checkpoints.DamagedCheckpoint: The file is damaged.
            ForeignCheckpoint: It is another trial's.
        """
        places = (source / _file(root, step) for source in self._sources)
        path = next(filter(Path.exists, places), self._folder / _file(root, step))
        content = load_checkpoint(path)
        if "format" not in content and "last" in content:
            return {**content, "evaluations": [content["last"]]}
        if content.get("format") != FORMAT:
            raise ForeignCheckpoint(f"{path} was written by another version")
        if content["study"] not in self._keys:
            raise ForeignCheckpoint(f"{path} is another study's")
        for name, value in {"configuration": configuration, **self._fingerprints}.items():
            if content[name] != value:
                raise ForeignCheckpoint(f"{path} has other {name}: {content[name]}, not {value}")
        state: dict[str, Any] = content["state"]
        return state

    def remove(self, root: int) -> None:
        """Forget trial ``root``: it has finished."""
        self._remove([*self._files(root, self._folder).values(), *self._partial(root)])

    def remove_ended(self, trials: Sequence[FrozenTrial]) -> None:
        """Forget those whose last attempt has ended: cancelled in the queue, or given up with
        the worker that could have removed them. What was not written to its end goes, too.

        Args:
            trials: All attempts of the study.
        """
        roots = [(trial.user_attrs.get("root", trial.number), trial.state) for trial in trials]
        ended = {root for root, _ in roots} - {r for r, state in roots if not state.is_finished()}
        paths = self._list(self._folder)
        for pattern in (_NAME, _PARTIAL):
            matches = ((path, pattern.fullmatch(path.name)) for path in paths)
            self._remove(path for path, match in matches if match and int(match[1]) in ended)
        self._remove(path for path in self._partial() if _is_old(path))

    def _files(self, root: int, folder: Path) -> dict[int, Path]:
        matches = ((path, _NAME.fullmatch(path.name)) for path in self._list(folder))
        return {int(match[2]): path for path, match in matches if match and int(match[1]) == root}

    def _partial(self, root: int | None = None) -> list[Path]:
        """What was not written to its end: of ``root``, or of all."""
        matches = ((path, _PARTIAL.fullmatch(path.name)) for path in self._list(self._folder))
        return [path for path, match in matches if match and root in (None, int(match[1]))]

    def _list(self, folder: Path) -> list[Path]:
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            line = f"checkpoints in {folder} cannot be looked for ({error.strerror or error})"
            self._say(line, cause=(folder, error.errno))
            return []

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                line = f"checkpoint {path} cannot be removed ({error.strerror or error})"
                self._say(line, cause=("removal", error.errno))

    def _say(self, line: str, *, cause: object) -> None:
        if cause not in self._causes:
            self._causes.add(cause)
            self._notify(line)


def remove_checkpoints(folder: Path, study_key: str) -> None:
    """Forget all trials of a study: it is deleted.

    Raises:
        OSError: A file cannot be removed.
    """
    own = folder / file_name(study_key)
    if own.is_dir():
        shutil.rmtree(own)


def _file(root: int, step: int) -> str:
    return f"trial-{root}-step-{step}.pt"


def _unkeyed(study_name: str) -> str | None:
    """The folder's name in versions before format 2, unless that led elsewhere."""
    name = quote(study_name, safe="")
    return None if name in ("", ".", "..") or len(name) > 255 else name


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD_SECONDS
    except OSError:  # another worker has removed it
        return False
