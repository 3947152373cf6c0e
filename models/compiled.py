"""Where the compiled loops of ``models.kernels`` serve, and PyTorch's functions elsewhere."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """``models.kernels`` for a tensor on the CPU, None for one on a GPU or in bfloat16, which
    NumPy, and so Numba, does not know.

    Loaded when training first needs it: predictions do without Numba.
    """
    if tensor.device.type != "cpu" or tensor.dtype == torch.bfloat16:
        return None
    from models import kernels

    return kernels
