"""How the training loss cares for rare classes."""

from __future__ import annotations

import torch
from torch import Tensor


def class_weights(labels: Tensor, num_classes: int, *, power: float) -> Tensor | None:
    """Weights (K,) n^-power of the classes, scaled to mean 1 over the titles; None for 0."""
    if power == 0:
        return None
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = counts.clamp(min=1) ** -power
    return (weights * counts.sum() / (weights * counts).sum()).float()


def class_log_shares(labels: Tensor, num_classes: int, *, tau: float) -> Tensor | None:
    """tau * log(share) (K,) of the classes among ``labels``; None for tau = 0.

    A class without a title counts as one with half a title.
    """
    if tau == 0:
        return None
    counts = torch.bincount(labels, minlength=num_classes).double().clamp(min=0.5)
    return (tau * torch.log(counts / counts.sum())).float()
