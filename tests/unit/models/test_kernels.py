"""The compiled loops against the functions of PyTorch that a GPU runs in their place."""

from __future__ import annotations

import dataclasses
import multiprocessing

import pytest
import torch

from models import build_model
from models.process import prepare_process
from models.training import Trainer, TrainingConfig

SETTINGS = TrainingConfig(
    num_epochs=3, batch_size=16, learning_rate=3e-3, weight_decay=0.01, bfloat16=False
)


def trained(config, examples, *, stem_ids=None):
    """The state of a network after some training, everything random seeded."""
    model = build_model(config, stem_ids=stem_ids, seed=4)
    list(Trainer(model, SETTINGS, examples(120), examples(40, seed=1)).run())
    return {"embedding": model.embedding, **model.state_dict()}


@pytest.mark.parametrize("freeze_embeddings", [False, True])
@pytest.mark.parametrize("stems", [False, True])
def test_a_network_trained_with_them_is_the_one_trained_without(
    config, examples, leave_out_kernels, freeze_embeddings, stems
):
    config = dataclasses.replace(config, freeze_embeddings=freeze_embeddings)
    stem_ids = torch.arange(config.vocabulary_size) // 2 if stems else None
    compiled = trained(config, examples, stem_ids=stem_ids)
    leave_out_kernels()
    plain = trained(config, examples, stem_ids=stem_ids)
    assert compiled.keys() == plain.keys()
    for name, value in plain.items():
        # AdamW turns a gradient of rounding errors into a step of full length: a few differ.
        distant = (compiled[name] - value).abs() > 1e-3
        assert distant.float().mean() < 0.01, name


def denormals_survive() -> bool:
    """Whether PyTorch's threads still know numbers below the normal ones."""
    torch.set_num_threads(2)
    prepare_process()
    halves = torch.full((1 << 20,), 2e-38).mul_(0.1)  # enough for two threads
    return bool(halves.any())


def test_denormal_numbers_are_zero_on_all_threads_of_a_prepared_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert not pool.apply(denormals_survive)
