"""Loss, accuracy and balanced accuracy of a split, summed per batch and divided once.

Averages of batches would weigh the titles of a smaller last batch more; sums do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Metrics:
    """``loss`` is the mean cross-entropy (nats per title), never weighted by class."""

    loss: float
    accuracy: float
    balanced_accuracy: float


class MetricSums:
    """Sums on the device of the logits; nothing waits for the device until ``metrics()``."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.count = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.correct = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: ``logits`` (B, K), ``labels`` (B,) int64."""
        hits = (logits.argmax(1) == labels).long()
        self.count.index_add_(0, labels, torch.ones_like(labels))
        self.correct.index_add_(0, labels, hits)
        self.loss += functional.cross_entropy(logits.float(), labels, reduction="sum")

    def metrics(self) -> Metrics:
        """Balanced accuracy is the mean of the recalls of the classes present in the truth, as
        ``sklearn.metrics.balanced_accuracy_score`` defines it."""
        count, correct = self.count.double().cpu(), self.correct.double().cpu()
        present = count > 0
        total = float(count.sum())
        return Metrics(
            loss=float(self.loss) / total,
            accuracy=float(correct.sum()) / total,
            balanced_accuracy=float((correct[present] / count[present]).mean()),
        )
