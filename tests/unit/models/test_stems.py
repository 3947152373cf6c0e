"""A word's vector is its own row plus that of its stem."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from models import MODELS, CNNConfig, MLPConfig, build_model
from models.evaluation import evaluate
from models.examples import Examples
from models.training import Trainer, TrainingConfig

# 0 padding, 1 unknown, words 2 to 7, stems 8 and 9; word 7 has a stem of its own, 10.
STEM_IDS = torch.tensor([0, 0, 8, 8, 8, 9, 9, 10, 0, 0, 0])
V, DIM, K = len(STEM_IDS), 6, 3
ONE_STEP = TrainingConfig(
    num_epochs=1,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=0.0,
    evaluations_per_epoch=1,
    bfloat16=False,
)


@pytest.fixture
def vectors():
    table = torch.randn(V, DIM, generator=torch.Generator().manual_seed(0))
    table[0] = 0
    return table


@pytest.fixture(params=sorted(MODELS))
def config(request):
    sizes = {"vocabulary_size": V, "embedding_dim": DIM, "num_classes": K}
    sizes |= {"hidden_sizes": (16,), "dropout": 0.0}
    if request.param == "mlp":
        return MLPConfig(**sizes)
    return CNNConfig(**sizes, num_filters=4, filter_lengths=(1, 2))


def titles(*rows):
    offsets = torch.tensor([0, *torch.tensor([len(row) for row in rows]).cumsum(0)])
    flat = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
    return Examples(flat, offsets, torch.arange(len(rows)) % K)


TITLES = titles([2, 3], [5, 5, 1], [2, 9], [8, 6, 3, 2], [], [6])


def scores(model, examples=TITLES):
    with torch.inference_mode():
        return model(examples.token_ids, examples.offsets)


def train(model, examples=TITLES, **changes):
    list(Trainer(model, dataclasses.replace(ONE_STEP, **changes), examples, examples).run())
    return model


def test_a_words_vector_is_its_row_and_its_stems(config, vectors):
    model = build_model(config, vectors, stem_ids=STEM_IDS)
    model.embedding += 0.5
    words = torch.arange(1, V)
    expected = model.embedding[1:].clone()
    expected[STEM_IDS[1:] > 0] += model.embedding[STEM_IDS[STEM_IDS > 0]]
    model.embedding[0] = 0
    expected[STEM_IDS[1:] == 0] = model.embedding[1:][STEM_IDS[1:] == 0]
    torch.testing.assert_close(model.rows(words), expected)


def test_at_the_start_the_vectors_are_those_given(config, vectors):
    given = vectors.clone()
    model = build_model(config, vectors, stem_ids=STEM_IDS)
    torch.testing.assert_close(model.rows(torch.arange(V)), given)
    assert torch.equal(vectors, given)  # the caller's are left alone


def test_at_the_start_the_scores_are_those_without_stems(config, vectors):
    with_stems = build_model(config, vectors, stem_ids=STEM_IDS)
    torch.testing.assert_close(scores(with_stems), scores(build_model(config, vectors)))


def test_training_moves_a_words_row_its_stems_and_so_its_sisters_vector(config, vectors):
    model = build_model(config, vectors, stem_ids=STEM_IDS)
    before, word_vectors = model.embedding.clone(), model.rows(torch.arange(V))
    train(model, titles([2, 1], [2, 5], [2, 5]))
    moved = set(torch.nonzero((model.embedding != before).any(1)).flatten().tolist())
    assert moved == {1, 2, 5, 8, 9}
    changed = (model.rows(torch.arange(V)) != word_vectors).any(1)
    assert changed[torch.tensor([3, 4, 6])].all()  # never seen, but forms of seen words
    assert not changed[torch.tensor([7, 10])].any()


def test_the_padding_never_moves(config, vectors):
    model = build_model(config, vectors, stem_ids=STEM_IDS)
    train(model, num_epochs=5, batch_size=2, weight_decay=0.3)
    assert not model.embedding[0].any()
    assert not model.rows(torch.tensor([0])).any()


def test_a_step_is_that_of_autograd_and_adamw_over_both_rows(config, vectors):
    """The gradient of a word's vector reaches both rows, each summed over all its words."""
    model = build_model(config, vectors, stem_ids=STEM_IDS)
    twin = build_model(config, vectors, stem_ids=STEM_IDS)
    table = twin.embedding.clone().requires_grad_()

    def rows(words):
        stems = STEM_IDS[words]
        own = torch.nn.functional.embedding(words, table)
        return own + torch.nn.functional.embedding(stems, table) * (stems > 0)[:, None]

    twin.rows = rows
    optimizer = torch.optim.AdamW([table, *twin.parameters()], lr=1e-2, weight_decay=0.0)
    logits = twin(TITLES.token_ids, TITLES.offsets)
    torch.nn.functional.cross_entropy(logits, TITLES.labels).backward()
    table.grad[0] = 0
    optimizer.step()
    train(model)
    # The first step of Adam is nearly the gradient's sign: rounding near zero flips it.
    clear = table.grad.abs() > 1e-5
    assert clear[[2, 5, 8, 9]].any(1).all()
    torch.testing.assert_close(model.embedding[clear], table.detach()[clear], rtol=0, atol=2e-5)
    torch.testing.assert_close(model.embedding[table.grad == 0], vectors_of(twin, table.grad))


def vectors_of(model, gradient):
    """The rows as they were, where there is no gradient."""
    return model.embedding[gradient == 0]


def test_evaluation_reads_words_with_their_stems(config, vectors):
    model = train(build_model(config, vectors, stem_ids=STEM_IDS), num_epochs=3)
    plain = build_model(config, model.rows(torch.arange(V)))
    plain.load_state_dict({**model.state_dict(), "embedding": model.rows(torch.arange(V))})
    torch.testing.assert_close(scores(plain), scores(model))
    assert evaluate(plain, TITLES).loss == pytest.approx(evaluate(model, TITLES).loss, rel=1e-5)


def test_frozen_embeddings_take_no_notice_of_stems(config, vectors):
    frozen = dataclasses.replace(config, freeze_embeddings=True)
    model = build_model(frozen, vectors, stem_ids=STEM_IDS)
    assert model.stem_ids is None
    assert torch.equal(model.rows(torch.arange(V)), vectors)
    plain = build_model(frozen, vectors)
    assert torch.equal(scores(train(model)), scores(train(plain)))


def test_stems_are_no_part_of_the_state_but_given_again(config, vectors):
    model = train(build_model(config, vectors, stem_ids=STEM_IDS))
    assert "stem_ids" not in model.state_dict()
    again = build_model(config, vectors, stem_ids=STEM_IDS, seed=9)
    again.load_state_dict(model.state_dict())
    assert torch.equal(scores(again), scores(model))


def test_a_stopped_run_with_stems_goes_on_to_the_bit(config, vectors):
    settings = dataclasses.replace(
        ONE_STEP, num_epochs=4, batch_size=2, weight_decay=0.1, decay=True
    )
    straight = Trainer(build_model(config, vectors, stem_ids=STEM_IDS), settings, TITLES, TITLES)
    list(straight.run())
    first = Trainer(build_model(config, vectors, stem_ids=STEM_IDS), settings, TITLES, TITLES)
    run = first.run()
    next(run), next(run)
    second = Trainer(
        build_model(config, vectors, stem_ids=STEM_IDS, seed=5), settings, TITLES, TITLES
    )
    second.load_state_dict(first.state_dict())
    list(second.run())
    assert torch.equal(second.model.embedding, straight.model.embedding)
    assert torch.equal(scores(second.model), scores(straight.model))
