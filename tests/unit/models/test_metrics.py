from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

from models.metrics import MetricSums


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.parametrize("seed", range(8))
def test_metrics_over_batches_are_scikit_learns_over_the_whole(seed):
    """Some classes are absent from the truth; the batches are unequal."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(101, 9, generator=generator)
    labels = torch.randint(0, 3 + seed % 6, (101,), generator=generator)
    sums = MetricSums(9, torch.device("cpu"))
    for start in range(0, 101, 30):
        sums.add(logits[start : start + 30], labels[start : start + 30])
    found = sums.metrics()
    predictions = logits.argmax(1)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert found.accuracy == pytest.approx(float((labels == predictions).float().mean()))
    expected = log_loss(labels, logits.double().softmax(1).numpy(), labels=np.arange(9))
    assert found.loss == pytest.approx(expected, rel=1e-5)
