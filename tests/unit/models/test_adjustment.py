"""Logit adjustment, and where dropout falls."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from models import MODELS, CNNConfig, MLPConfig, build_model
from models.balance import class_log_shares
from models.evaluation import evaluate
from models.examples import Examples
from models.functions import cross_entropy
from models.training import Trainer, TrainingConfig
from models.weights import DenseWeights

QUICK = TrainingConfig(
    num_epochs=1, batch_size=1000, learning_rate=1e-2, evaluations_per_epoch=1, bfloat16=False
)


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_adjusted_loss_is_pytorchs_of_logits_plus_tau_log_prior(tau, weighted, smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 3])
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0]) if weighted else None
    prior = torch.tensor([5, 2, 1, 1]) / 9
    expected = torch_cross_entropy(
        logits + tau * prior.log(),
        labels,
        weight=weights,
        label_smoothing=smoothing,
        reduction="sum",
    )
    expected.backward()
    loss, gradient = cross_entropy(
        logits.detach(),
        labels,
        class_weights=weights,
        label_smoothing=smoothing,
        log_shares=class_log_shares(labels, 4, tau=tau),
    )
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, logits.grad)


def test_no_adjustment_is_no_term_at_all():
    assert class_log_shares(torch.tensor([0, 1]), 2, tau=0.0) is None


def test_a_class_without_titles_has_a_finite_share():
    shares = class_log_shares(torch.tensor([0] * 9 + [1]), 3, tau=1.0)
    assert torch.isfinite(shares).all()
    assert shares[2] < shares[1] < shares[0]


@pytest.fixture
def skewed(examples):
    """Titles of which class 0 has most, so that the adjustment matters."""
    titles = examples(120)
    keep = torch.nonzero((titles.labels == 0) | (torch.arange(120) % 4 == 0)).squeeze(1)
    batch = titles.gather(keep)
    return Examples(batch.token_ids, batch.offsets, batch.labels)


def trained(model, config, titles):
    trainer = Trainer(model, config, titles, titles)
    return trainer, list(trainer.run())


def test_the_training_loss_is_adjusted_and_the_evaluation_is_not(config, skewed):
    """At a learning rate of nearly zero both see the same network."""
    still = dataclasses.replace(QUICK, learning_rate=1e-12, logit_adjustment=1.0)
    model = build_model(dataclasses.replace(config, dropout=0.0))
    with torch.no_grad():
        logits = model(skewed.token_ids, skewed.offsets)
    log_prior = (torch.bincount(skewed.labels, minlength=5) / len(skewed)).log()
    _, (evaluation,) = trained(model, still, skewed)
    adjusted = float(torch_cross_entropy(logits + log_prior, skewed.labels))
    plain = float(torch_cross_entropy(logits, skewed.labels))
    assert abs(adjusted - plain) > 0.01
    assert evaluation.train_loss == pytest.approx(adjusted, rel=1e-4)
    assert evaluation.loss == pytest.approx(plain, rel=1e-4)
    assert evaluate(model, skewed).loss == pytest.approx(plain, rel=1e-4)


def test_the_handicap_of_large_classes_makes_the_network_call_them_less_often():
    """Titles that say nothing: what is left is the prior, and with tau = 1 not even that."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    offsets = torch.arange(101)
    titles = Examples(torch.full((100,), 2, dtype=torch.int32), offsets, labels)
    shares = []
    for tau in (0.0, 1.0):
        model = build_model(MLPConfig(3, 4, 2, hidden_sizes=(), dropout=0.0))
        settings = dataclasses.replace(
            QUICK, num_epochs=300, learning_rate=0.05, logit_adjustment=tau
        )
        trained(model, dataclasses.replace(settings, evaluations_per_epoch=1), titles)
        with torch.no_grad():
            logits = model(torch.tensor([2], dtype=torch.int32), torch.tensor([0, 1]))
        shares.append(float(logits.softmax(1)[0, 0]))
    assert shares == pytest.approx([0.9, 0.5], abs=0.02)


def small(name, **changes):
    sizes = {"vocabulary_size": 152, "embedding_dim": 64, "num_classes": 5, "hidden_sizes": ()}
    if name == "mlp":
        return MLPConfig(**sizes, **changes)
    return CNNConfig(**sizes, num_filters=64, filter_lengths=(1,), **changes)


def train_features(model, titles):
    weights = DenseWeights(model, dtype=torch.float32, weight_decay=0.0)
    padded = titles.padded(model.min_length)
    rows = model.rows(torch.arange(152))
    with torch.no_grad():
        return model.train_features(
            rows, padded.token_ids.long(), padded.offsets, weights=weights
        )[0]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_dropout_falls_on_the_pooled_features_in_training_alone(name, examples):
    model, titles = build_model(small(name, dropout=0.5)), examples(50)
    model.seed_dropout(1)
    with torch.no_grad():
        plain = model.features(titles.token_ids, titles.offsets)
    dropped = train_features(model, titles)
    alive = plain != 0
    kept = dropped[alive] != 0
    assert 0.4 < float(kept.float().mean()) < 0.6
    torch.testing.assert_close(dropped[alive][kept], 2 * plain[alive][kept])


def test_dropout_falls_on_features_that_come_pooled(examples):
    vectors = torch.randn(152, 64, generator=torch.Generator().manual_seed(0))
    vectors[0] = 0
    model = build_model(small("mlp", dropout=0.5, freeze_embeddings=True), vectors)
    titles = examples(50, pooled_by=vectors)
    pooled, lengths = titles.pooled, titles.lengths
    weights = DenseWeights(model, dtype=torch.float32, weight_decay=0.0)
    dropped = model.train_pooled(pooled.clone(), lengths, weights=weights)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * pooled[kept])
    assert 0.4 < float(kept[pooled != 0].float().mean()) < 0.6
    with torch.no_grad():
        assert torch.equal(model.forward_pooled(pooled, lengths), model.stack(pooled))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_dropout_leaves_the_features_as_they_are(name, examples):
    model, titles = build_model(small(name, dropout=0.0)), examples(50)
    with torch.no_grad():
        plain = model.features(titles.token_ids, titles.offsets)
    torch.testing.assert_close(train_features(model, titles), plain)
