"""What the C library does with memory that a training step frees."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_MMAP_THRESHOLD_BYTES = 32 * 2**20  # glibc takes no more
_KEPT_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
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
