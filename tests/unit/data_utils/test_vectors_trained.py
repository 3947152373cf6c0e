"""Skip-gram vectors trained on the titles."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_utils import skipgram
from data_utils.prepared import PreparedData, Titles
from data_utils.skipgram import train_skipgram
from data_utils.vectors import word_vectors
from data_utils.vocabulary import Vocabulary

TOPICS, TOPIC_TOKENS = 3, 6
SIZE = 2 + TOPICS * TOPIC_TOKENS


def titles(rows: list[list[int]]) -> Titles:
    return Titles(
        token_ids=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        labels=np.zeros(len(rows), dtype=np.int32),
        text_bytes=np.zeros(0, dtype=np.uint8),
        text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
    )


def topical_titles(number: int = 600) -> Titles:
    """Title i is of topic i % 3: its tokens are 2 + 6 * topic and the five after it."""
    rng = np.random.default_rng(0)
    rows = [
        (2 + TOPIC_TOKENS * (index % TOPICS) + rng.permutation(TOPIC_TOKENS)[:4]).tolist()
        for index in range(number)
    ]
    return titles([[], [1], *rows, [1, 1], []])


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = vectors[2:] / np.linalg.norm(vectors[2:], axis=1, keepdims=True)
    return rows @ rows.T


def test_tokens_of_one_topic_are_nearest_to_each_other() -> None:
    vectors, is_trained = train_skipgram(topical_titles(), SIZE, dim=16, seed=0)
    topic = np.arange(SIZE - 2) // TOPIC_TOKENS
    same = topic[:, None] == topic
    similar = cosines(vectors)
    assert similar[same].min() > similar[~same].max()
    assert is_trained.tolist() == [False, False, *[True] * (SIZE - 2)]
    assert not vectors[:2].any()


def test_the_seed_changes_the_vectors_and_nothing_else_does() -> None:
    first, _ = train_skipgram(topical_titles(), SIZE, dim=16, seed=0)
    again, _ = train_skipgram(topical_titles(), SIZE, dim=16, seed=0)
    other, _ = train_skipgram(topical_titles(), SIZE, dim=16, seed=1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


TRAINER = """
import importlib.util, sys, zlib
spec = importlib.util.spec_from_file_location("test_vectors_trained", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
vectors, _ = module.train_skipgram(module.topical_titles(), module.SIZE, dim=300, seed=0)
print(zlib.crc32(vectors.tobytes()))
"""


def test_two_processes_train_the_same_bits() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINER, __file__],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # gensim warns through logging: nothing else may be said
            text=True,
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed},
        )
        for seed in ("1", "2")
    ]
    checksums = [process.communicate()[0] for process in processes]
    assert checksums[0].strip().isdigit(), checksums[0]
    assert checksums[0] == checksums[1]


def test_the_number_of_pairs_bounds_the_titles_trained_on(monkeypatch) -> None:
    monkeypatch.setattr(skipgram, "MAX_PAIRS", 12 * 50)  # 4 tokens have 12 pairs
    order, passes = skipgram._plan(topical_titles(), seed=0)
    assert passes == 1
    assert 45 <= len(order) <= 55
    assert len(set(order.tolist())) == len(order)


def test_few_titles_are_passed_over_a_bounded_number_of_times() -> None:
    order, passes = skipgram._plan(topical_titles(10), seed=0)
    assert passes == skipgram.MAX_PASSES
    assert sorted(order.tolist()) == list(range(14))


def test_tokens_beyond_the_bound_stay_untrained(monkeypatch) -> None:
    monkeypatch.setattr(skipgram, "MAX_TRAINED_TOKENS", 3)
    rows = titles([[2, 3, 4], [2, 3, 4], [5, 2, 4], [6, 4]])
    vectors, is_trained = train_skipgram(rows, 7, dim=4, seed=0)
    assert is_trained.tolist() == [False, False, True, True, True, False, False]
    assert not vectors[[0, 1, 5, 6]].any()
    assert vectors[2:5].any(axis=1).all()


@pytest.mark.parametrize("rows", [[], [[]], [[1], [1, 1]]])
def test_titles_without_known_tokens_train_nothing(rows: list[list[int]]) -> None:
    vectors, is_trained = train_skipgram(titles(rows), 4, dim=8, seed=0)
    assert vectors.shape == (4, 8)
    assert not vectors.any()
    assert not is_trained.any()


def test_titles_of_one_token_keep_finite_vectors() -> None:
    vectors, is_trained = train_skipgram(titles([[2], [3], [2]]), 4, dim=8, seed=0)
    assert np.isfinite(vectors).all()
    assert is_trained[2:].all()


def test_progress_reaches_the_end_in_order() -> None:
    fractions: list[float | None] = []
    train_skipgram(
        topical_titles(),
        SIZE,
        dim=4,
        seed=0,
        progress=lambda _, fraction: fractions.append(fraction),
    )
    assert fractions == sorted(fractions, key=float)
    assert fractions[-1] == 1.0


def test_trained_vectors_are_cached_by_data_width_and_seed(tmp_path: Path) -> None:
    data = PreparedData(
        folder=Path("unused"),
        name="test",
        fingerprint="a",
        labels=("x", "y"),
        vocabulary=Vocabulary(f"t{index}" for index in range(SIZE - 2)),
        train=topical_titles(),
        validation=titles([[1]]),
        test=titles([[]]),
        summary={},
    )
    first = word_vectors(data, dim=8, cache_dir=tmp_path)
    messages: list[str] = []
    again = word_vectors(
        data, dim=8, cache_dir=tmp_path, progress=lambda message, _: messages.append(message)
    )
    assert messages == []
    np.testing.assert_array_equal(first.matrix, again.matrix)
    assert word_vectors(data, dim=9, cache_dir=tmp_path).fingerprint != first.fingerprint
    assert word_vectors(data, dim=8, cache_dir=tmp_path, seed=1).fingerprint != first.fingerprint
    assert (first.found, first.missing) == (SIZE - 2, 0)
    assert 0.99 < first.coverage < 1  # three tokens are unknown
    assert word_vectors(data, cache_dir=tmp_path).matrix.shape == (SIZE, 300)
