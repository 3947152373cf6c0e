"""What a run does at each of its positions: the learning rate, the order of titles, the seeds.

All of it follows from the configuration and the position, so that a run goes on from anywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WARMUP_FRACTION = 0.05


def learning_rates(rate: float, num_steps: int, *, decay: bool) -> list[float]:
    """The rate of each of ``num_steps`` updates, of which ``rate`` is the highest.

    With ``decay`` it rises linearly for the first twentieth and then falls linearly to 0.
    """
    if not decay:
        return [rate] * num_steps
    rising = math.ceil(num_steps * WARMUP_FRACTION)
    return [
        rate * min((step + 1) / rising, (num_steps - step) / (num_steps - rising + 1))
        for step in range(num_steps)
    ]


def mixed_seed(seed: int, position: int, *, stream: int) -> int:
    """One generator seed from a run's seed and a position, apart for every ``stream``."""
    return (seed * 1_000_003 + position * 8 + stream) * 0x9E3779B97F4A7C15 % 2**63


def epoch_order(num_titles: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation (N,) int64 in which an epoch reads the titles."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, stream=1))
    return torch.randperm(num_titles, generator=generator)
