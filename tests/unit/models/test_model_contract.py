"""What every entry of MODELS must do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from models import MLPConfig, build_model
from models.evaluation import evaluate, predict
from models.functions import cross_entropy
from models.training import Trainer, TrainingConfig
from models.weights import DenseWeights

QUICK = TrainingConfig(
    num_epochs=2, batch_size=16, learning_rate=1e-2, evaluations_per_epoch=2, bfloat16=False
)


def scores(model, examples):
    """Logits of all titles in one batch, without dropout."""
    with torch.inference_mode():
        return model(examples.token_ids, examples.offsets)


def test_logits_are_raw_one_row_per_title_and_one_column_per_class(model, examples):
    logits = scores(model, examples(7))
    assert logits.shape == (7, 5)
    assert not torch.allclose(logits.exp().sum(1), torch.ones(7), atol=1e-2)


def test_a_title_scores_the_same_alone_and_in_a_batch(model, examples):
    titles = examples(40)
    together = scores(model, titles)
    for title in range(len(titles)):
        alone = titles.slice(title, title + 1)
        torch.testing.assert_close(scores(model, alone), together[title : title + 1])


def test_padding_changes_no_score_and_its_row_is_never_read(model, examples):
    titles = examples(40)
    expected = scores(model, titles)
    torch.testing.assert_close(scores(model, titles.padded(model.min_length)), expected)
    torch.testing.assert_close(scores(model, titles), expected)


def test_empty_and_unknown_titles_have_finite_scores(model):
    token_ids, offsets = torch.tensor([1, 1], dtype=torch.int32), torch.tensor([0, 0, 2, 2])
    logits = model(token_ids, offsets)
    assert logits.shape == (3, 5)
    assert torch.isfinite(logits).all()


def test_a_batch_of_empty_titles_alone_has_scores(model):
    logits = model(torch.empty(0, dtype=torch.int32), torch.tensor([0, 0]))
    assert torch.isfinite(logits).all()


def train_logits(model, titles):
    """Logits as training computes them, in float32, and what goes back to the rows."""
    weights = DenseWeights(model, dtype=torch.float32, weight_decay=0.0)
    titles = titles.padded(model.min_length)
    features, to_rows = model.train_features(
        model.embedding, titles.token_ids.long(), titles.offsets, weights=weights
    )
    logits, to_features = model.stack.train_forward(features, weights=weights)
    return logits, lambda gradient: to_rows(to_features(gradient)), weights


def test_dropout_is_off_at_evaluation_and_on_in_training(model, examples):
    titles = examples(30)
    assert torch.equal(scores(model, titles), scores(model, titles))
    with torch.no_grad():
        first, second = (train_logits(model, titles)[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_training_without_dropout_has_the_logits_of_evaluation(config, examples):
    model = build_model(dataclasses.replace(config, dropout=0.0))
    with torch.no_grad():
        logits = train_logits(model, examples(30))[0]
    torch.testing.assert_close(logits, scores(model, examples(30)))


@pytest.mark.usefixtures("loops")
def test_training_gradients_are_those_of_plain_autograd(config, examples):
    """The backward passes written by hand against PyTorch's own."""
    model = build_model(dataclasses.replace(config, dropout=0.0), seed=3)
    titles = examples(30).padded(max(1, model.min_length))
    class_weights = torch.tensor([1.0, 0.5, 2.0, 1.5, 0.1])
    with torch.no_grad():
        logits, backward, weights = train_logits(model, titles)
        loss, gradient = cross_entropy(
            logits, titles.labels, class_weights=class_weights, label_smoothing=0.1
        )
        rows_gradient = backward(gradient)
    table = model.embedding.clone().requires_grad_()
    plain = torch.nn.functional.cross_entropy(
        reference_logits(model, table, titles),
        titles.labels,
        weight=class_weights,
        label_smoothing=0.1,
        reduction="sum",
    )
    torch.testing.assert_close(loss, plain)
    plain.backward()
    # Row 0 is the padding, which only the reference gives a gradient.
    torch.testing.assert_close(rows_gradient[1:], table.grad[1:], rtol=1e-4, atol=1e-5)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            layer = weights.of(module)
            torch.testing.assert_close(layer.weight_gradient, module.weight.grad)
            torch.testing.assert_close(layer.bias_gradient, module.bias.grad)


def test_a_network_without_hidden_layers_trains_with_dropout(config, examples):
    model = build_model(dataclasses.replace(config, hidden_sizes=()), seed=1)
    first, *_, last = Trainer(model, QUICK, examples(200), examples(50, seed=1)).run()
    assert last.train_loss < first.train_loss


@pytest.mark.parametrize("scale", [1.0, 300.0])  # the second: probabilities of zero
@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 1.0, 2.0, 3.0])])
def test_the_quick_form_of_the_loss_is_pytorchs_too(scale, class_weights):
    logits = (torch.randn(6, 4, generator=torch.manual_seed(0)) * scale).requires_grad_()
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    plain = torch.nn.functional.cross_entropy(
        logits, labels, weight=class_weights, reduction="sum"
    )
    plain.backward()
    loss, gradient = cross_entropy(
        logits.detach(), labels, class_weights=class_weights, label_smoothing=0.0
    )
    torch.testing.assert_close(loss, plain.detach())
    torch.testing.assert_close(gradient, logits.grad)


def reference_logits(model, table, titles):
    """The network written title by title, with PyTorch's own layers."""
    rows = []
    for start, stop in zip(titles.offsets[:-1], titles.offsets[1:], strict=True):
        ids = titles.token_ids[start:stop].long()
        vectors = torch.nn.functional.embedding(ids, table)
        if model.min_length == 0:
            n = len(vectors)
            rows.append(vectors.sum(0) / (n**0.5 if model.config.pooling == "sqrtn" else n))
            continue
        pooled = []
        for linear, length in zip(model.filters, model.filter_lengths, strict=True):
            kernel = linear.weight.view(len(linear.weight), length, -1).transpose(1, 2)
            seen = vectors[: max(length, int((ids > 0).sum()))]
            answers = torch.nn.functional.conv1d(seen.t()[None], kernel, linear.bias)
            pooled.append(torch.relu(answers.amax(2)[0]))
        rows.append(torch.cat(pooled))
    features = torch.stack(rows)
    for linear in model.stack.hidden:
        features = torch.relu(linear(features))
    return model.stack.output(features)


def test_training_learns_a_separable_set(config, examples):
    model = build_model(config)
    trainer = Trainer(
        model, dataclasses.replace(QUICK, num_epochs=6), examples(600), examples(200, seed=1)
    )
    *_, last = trainer.run()
    # One title in seven is empty and cannot be told.
    assert last.balanced_accuracy > 0.7


def test_bfloat16_training_learns_it_as_well(config, examples):
    settings = dataclasses.replace(QUICK, num_epochs=6, bfloat16=True)
    *_, last = Trainer(build_model(config), settings, examples(600), examples(200, seed=1)).run()
    assert last.balanced_accuracy > 0.7


def test_the_same_seed_repeats_bit_for_bit(config, examples):
    results = []
    for _ in range(2):
        model = build_model(config, seed=5)
        torch.rand(3)  # other users of the global generator change nothing
        evaluations = list(Trainer(model, QUICK, examples(200), examples(50, seed=1)).run())
        results.append(([e.loss for e in evaluations], predict(model, examples(50, seed=1))))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_another_seed_gives_another_model(config):
    assert not torch.equal(
        build_model(config, seed=0).embedding, build_model(config, seed=1).embedding
    )


@pytest.mark.parametrize("freeze", [False, True])
def test_a_model_is_rebuilt_from_config_vectors_and_state(config, examples, freeze):
    vectors = torch.randn(152, 16, generator=torch.Generator().manual_seed(0))
    vectors[0] = 0
    config = dataclasses.replace(config, freeze_embeddings=freeze)
    model = build_model(config, vectors.numpy())
    list(Trainer(model, QUICK, examples(100), examples(20)).run())
    again = build_model(type(config)(**dataclasses.asdict(config)), vectors.numpy(), seed=9)
    again.load_state_dict(model.state_dict())
    assert torch.equal(scores(again, examples(30)), scores(model, examples(30)))


def test_frozen_embeddings_are_used_in_place_and_never_change(config, examples):
    vectors = np.random.default_rng(0).normal(size=(152, 16)).astype(np.float32)
    vectors[0] = 0
    vectors.setflags(write=False)  # as a shared memory map would be
    before = vectors.copy()
    model = build_model(dataclasses.replace(config, freeze_embeddings=True), vectors)
    assert model.embedding.data_ptr() == vectors.ctypes.data
    list(Trainer(model, QUICK, examples(100), examples(20)).run())
    assert np.array_equal(vectors, before)
    assert "embedding" not in model.state_dict()


def test_only_the_rows_that_training_touches_change(config, examples):
    titles = examples(20)
    model = build_model(config)
    before = model.embedding.clone()
    list(Trainer(model, QUICK, titles, titles).run())
    changed = (model.embedding != before).any(1)
    touched = torch.zeros(152, dtype=torch.bool)
    touched[titles.token_ids.long()] = True
    assert torch.equal(changed, touched)


def test_vectors_that_do_not_fit_are_refused(config):
    with pytest.raises(ValueError, match="152 x 16, but are 9 x 16"):
        build_model(config, np.zeros((9, 16), dtype=np.float32))


def test_vectors_with_a_padding_row_that_is_not_zero_are_refused(config):
    with pytest.raises(ValueError, match="padding"):
        build_model(config, np.ones((152, 16), dtype=np.float32))


@pytest.mark.parametrize("pooling", ["mean", "sqrtn"])
def test_pooled_features_train_a_frozen_mlp_as_tokens_do(pooling, examples):
    vectors = torch.randn(152, 16, generator=torch.Generator().manual_seed(0))
    vectors[0] = 0
    config = MLPConfig(152, 16, 5, (24,), freeze_embeddings=True, pooling=pooling)
    losses = []
    for pooled_by in (None, vectors):
        model = build_model(config, vectors)
        train, validation = examples(200, pooled_by=pooled_by), examples(50, pooled_by=pooled_by)
        losses.append([e.loss for e in Trainer(model, QUICK, train, validation).run()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_evaluation_in_small_batches_finds_the_same(model, examples):
    titles = examples(50)
    large, small = evaluate(model, titles), evaluate(model, titles, batch_size=7)
    assert large.balanced_accuracy == small.balanced_accuracy
    assert large.loss == pytest.approx(small.loss)


def test_predictions_are_probabilities(model, examples):
    probabilities = predict(model, examples(20), batch_size=8)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(20))
