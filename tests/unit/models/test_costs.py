"""What a trained network costs."""

from __future__ import annotations

import pytest
import torch

from models import CNNConfig, MLPConfig, build_model
from models.costs import latency_ms, size_mb
from models.examples import Examples

WORDS, WIDTH, CLASSES = 152, 16, 5
TITLES = Examples(
    token_ids=torch.arange(1, 61, dtype=torch.int32),
    offsets=torch.arange(0, 61, 4),
    labels=torch.zeros(15, dtype=torch.int64),
)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_size_is_that_of_word_vectors_and_layers(frozen):
    config = MLPConfig(WORDS, WIDTH, CLASSES, hidden_sizes=(24,), freeze_embeddings=frozen)
    model = build_model(config)
    layers = sum(weight.numel() for weight in model.parameters())
    assert layers >= WIDTH * 24 + 24 * CLASSES
    assert size_mb(model) == pytest.approx(4 * (WORDS * WIDTH + layers) / 1e6)


@pytest.mark.parametrize("kind", [MLPConfig, CNNConfig])
def test_the_latency_is_positive_and_leaves_threads_and_weights_as_they_were(kind):
    model = build_model(kind(WORDS, WIDTH, CLASSES))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads = torch.get_num_threads()
    assert latency_ms(model, TITLES) > 0
    assert torch.get_num_threads() == threads
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_network_of_many_more_weights_takes_longer():
    small = build_model(MLPConfig(WORDS, WIDTH, CLASSES, hidden_sizes=()))
    large = build_model(MLPConfig(WORDS, WIDTH, CLASSES, hidden_sizes=(4096, 4096)))
    assert latency_ms(large, TITLES) > latency_ms(small, TITLES)
