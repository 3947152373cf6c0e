"""What training asks of the process that it runs in."""

from __future__ import annotations

import ctypes

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_MMAP_THRESHOLD_BYTES = 32 * 2**20  # glibc takes no more
_KEPT_BYTES = 256 * 2**20


def prepare_process() -> None:
    """Set up the process for training; the earlier, the better, and again does no harm.

    Denormal numbers become zero. The gradients of units that stopped working, squared, are
    such numbers, and a processor works on one for as long as on a hundred others: they were
    half of the time of an MLP's training. PyTorch's threads take the setting over from the
    thread that starts them, so it has to stand before its first parallel work.
    """
    torch.set_flush_denormal(True)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc keep up to 256 MB of freed memory for the next allocations.

    A step allocates arrays of some 100 kB to 2 MB; given back to the kernel and asked for
    again at every step, their pages are cleared each time, which cost a tenth of the training
    of a network with trained embeddings. No effect with other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD_BYTES)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
