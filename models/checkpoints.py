"""The state of a trainer on disk: whole or not at all."""

from __future__ import annotations

import os
import pickle
import secrets
from pathlib import Path
from typing import Any

import torch


class DamagedCheckpoint(ValueError):
    """The file is no checkpoint, or not all of one."""


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is either the old file or the whole new one.

    A process that is killed meanwhile leaves ``.NAME.`` and some letters beside it.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # With the user's umask: whoever may read the folder may go on from what is in it.
        with partial.open("xb") as file:
            _write(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write(state: dict[str, Any], file: Any) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # PyTorch's writer counts bytes after a failed write, and raises what it finds then.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state written by ``save_checkpoint``, its tensors on the CPU.

    Raises:
        OSError: there is no such file, or it cannot be opened.
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
