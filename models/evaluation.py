"""What a network makes of titles: its logits, probabilities and metrics, without dropout."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base import TitleClassifier
from models.examples import Batch, Examples
from models.metrics import Metrics, MetricSums

EVALUATION_BATCH_SIZE = 2048


def model_logits(model: TitleClassifier, batch: Batch) -> Tensor:
    """Logits (B, K) of a batch, from the pooled features where the model can use them."""
    if batch.pooled is not None and model.takes_pooled:
        return model.forward_pooled(batch.pooled, batch.lengths)
    return model(batch.token_ids, batch.offsets)


@torch.inference_mode()
def evaluate(
    model: TitleClassifier, examples: Examples, *, batch_size: int = EVALUATION_BATCH_SIZE
) -> Metrics:
    """Metrics of ``model`` over ``examples``, without dropout."""
    sums = MetricSums(model.config.num_classes, examples.labels.device)
    for start in range(0, len(examples), batch_size):
        batch = examples.slice(start, min(start + batch_size, len(examples)))
        sums.add(model_logits(model, batch), batch.labels)
    return sums.metrics()


@torch.inference_mode()
def predict(
    model: TitleClassifier, examples: Examples, *, batch_size: int = EVALUATION_BATCH_SIZE
) -> Tensor:
    """Probabilities (N, K) float32 of the classes for each title, on the CPU."""
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = examples.slice(start, min(start + batch_size, len(examples)))
        parts.append(model_logits(model, batch).float().softmax(1).cpu())
    return torch.cat(parts)
