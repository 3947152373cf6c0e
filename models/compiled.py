"""Where the compiled loops of ``models.kernels`` serve, and PyTorch's functions elsewhere."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch
from torch import Tensor


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """``models.kernels`` for a tensor on the CPU, None for one on a GPU or in bfloat16, which
    NumPy, and so Numba, does not know."""
    return _kernels() if tensor.is_cpu and tensor.dtype != torch.bfloat16 else None


@cache
def _kernels() -> ModuleType:
    """Loaded when training first needs them: predictions do without Numba."""
    from models import kernels

    return kernels
