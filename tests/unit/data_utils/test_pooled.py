"""Mean vectors of titles against the plainest reference, and their cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_utils import pooled
from data_utils.errors import DataError
from data_utils.pooled import pool, pooled_features
from data_utils.prepared import PreparedData, Titles
from data_utils.vectors import WordVectors
from data_utils.vocabulary import Vocabulary

SIZE, DIM = 9, 4


def titles(rows: list[list[int]]) -> Titles:
    return Titles(
        token_ids=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        labels=np.zeros(len(rows), dtype=np.int32),
        text_bytes=np.zeros(0, dtype=np.uint8),
        text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
    )


ROWS = [[], [2, 3], [], [], [1], [4, 4, 1, 8, 5], [1, 1], [7], []]


def prepared(rows: list[list[int]] = ROWS) -> PreparedData:
    return PreparedData(
        folder=Path("unused"),
        name="test",
        fingerprint="data",
        labels=("x", "y"),
        vocabulary=Vocabulary(f"t{index}" for index in range(SIZE - 2)),
        train=titles(rows),
        validation=titles(rows[::-1]),
        test=titles([[]]),
        summary={},
    )


def vectors(seed: int = 0) -> WordVectors:
    matrix = np.random.default_rng(seed).normal(size=(SIZE, DIM)).astype(np.float32)
    return WordVectors(
        matrix=matrix,
        found=SIZE - 2,
        missing=0,
        coverage=1.0,
        undecodable=0,
        source="test",
        fingerprint=str(seed),
    )


def reference(rows: list[list[int]], matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    expected = np.zeros((len(rows), matrix.shape[1]))
    for index, row in enumerate(rows):
        if row:
            expected[index] = np.mean([matrix[token] for token in row], axis=0)
    return expected


@pytest.mark.parametrize("chunk_bytes", [1, 3 * 4 * DIM, 1 << 20])
def test_each_title_has_the_mean_of_its_tokens(
    tmp_path: Path, monkeypatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(pooled, "_CHUNK_BYTES", chunk_bytes)
    features = pooled_features(prepared(), vectors(), split="train", cache_dir=tmp_path)
    assert features.dtype == np.float32
    assert isinstance(features, np.memmap)
    np.testing.assert_allclose(features, reference(ROWS, vectors().matrix), rtol=1e-5, atol=1e-6)


def test_an_empty_title_is_zeros_wherever_it_stands() -> None:
    matrix = vectors().matrix
    for rows in ([[]], [[], [2]], [[2], []], [[], []], [[2], [], [], [3]]):
        part = titles(rows)
        np.testing.assert_allclose(
            pool(part.token_ids, part.offsets, matrix), reference(rows, matrix), rtol=1e-5
        )


def test_unknown_tokens_count_with_their_vector(tmp_path: Path) -> None:
    matrix = vectors().matrix
    part = titles([[1, 2], [1]])
    means = pool(part.token_ids, part.offsets, matrix)
    np.testing.assert_allclose(means[0], (matrix[1] + matrix[2]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(means[1], matrix[1])


def test_a_split_without_titles_has_no_rows(tmp_path: Path) -> None:
    features = pooled_features(prepared([]), vectors(), split="train", cache_dir=tmp_path)
    assert features.shape == (0, DIM)


def test_many_random_titles_agree_with_the_reference() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(500, 30)).astype(np.float32)
    rows = [rng.integers(0, 500, size=rng.integers(0, 12)).tolist() for _ in range(2000)]
    part = titles(rows)
    means = pool(part.token_ids, part.offsets, matrix)
    np.testing.assert_allclose(means, reference(rows, matrix), rtol=1e-4, atol=1e-5)


def test_splits_and_vectors_are_cached_apart(tmp_path: Path) -> None:
    data = prepared()
    train = pooled_features(data, vectors(), split="train", cache_dir=tmp_path)
    validation = pooled_features(data, vectors(), split="validation", cache_dir=tmp_path)
    other = pooled_features(data, vectors(1), split="train", cache_dir=tmp_path)
    more = replace(data, fingerprint="other data", train=titles([*ROWS, [3]]))
    np.testing.assert_array_equal(validation, train[::-1])
    assert not np.array_equal(other, train)
    assert len(pooled_features(more, vectors(), split="train", cache_dir=tmp_path)) == 10


def test_the_second_call_computes_nothing(tmp_path: Path) -> None:
    messages: list[str] = []
    for _ in range(2):
        pooled_features(
            prepared(),
            vectors(),
            split="train",
            cache_dir=tmp_path,
            progress=lambda message, _: messages.append(message),
        )
    assert messages == ["pooling the train titles"]


def test_damaged_features_are_computed_again(tmp_path: Path) -> None:
    first = np.array(pooled_features(prepared(), vectors(), split="train", cache_dir=tmp_path))
    (path,) = (tmp_path / "pooled").rglob("features.npy")
    data = path.read_bytes()
    for damaged in (data[:-4] + b"\x00\x00\x80\x3f", data[:-4], b""):
        path.write_bytes(damaged)
        again = pooled_features(prepared(), vectors(), split="train", cache_dir=tmp_path)
        np.testing.assert_array_equal(again, first)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        pooled_features(prepared(), vectors(), split="dev", cache_dir=tmp_path)


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot write"):
        pooled_features(prepared(), vectors(), split="train", cache_dir=tmp_path / "cache")
