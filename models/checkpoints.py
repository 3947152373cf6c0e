"""The state of a trainer on disk: whole or not at all."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch


class DamagedCheckpoint(ValueError):
    """The file is no checkpoint, or not all of one."""


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is either the old file or the whole new one.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state written by ``save_checkpoint``, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedCheckpoint: it is cut short, or something else.
    """
    with path.open("rb") as file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        # What PyTorch raises depends on where the file ends; OSError is among it.
        except (
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            OSError,
            pickle.PickleError,
        ) as error:
            raise DamagedCheckpoint(f"{path} is not a whole checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise DamagedCheckpoint(f"{path} holds a {type(state).__name__}, not a state")
    return state


def state_bytes(state: Any) -> int:
    """Bytes of all tensors in ``state``, however deep: about what its file takes."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(state_bytes, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(state_bytes, state))
    return 0
