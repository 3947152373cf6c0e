"""Titles filled up to a least length, and their cache."""

from pathlib import Path

import numpy as np
import pytest

from data_utils import padded
from data_utils.padded import padded_titles
from data_utils.prepared import PreparedData, Titles
from data_utils.vocabulary import Vocabulary

ROWS = [[], [2, 3], [], [], [1], [4, 4, 1, 8, 5], [1, 1], [7], []]


def titles(rows):
    return Titles(
        token_ids=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        labels=np.zeros(len(rows), dtype=np.int64),
        text_bytes=np.zeros(0, dtype=np.uint8),
        text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
    )


def prepared(rows):
    return PreparedData(
        folder=Path("unused"),
        name="test",
        fingerprint="data",
        labels=("x", "y"),
        vocabulary=Vocabulary(f"t{index}" for index in range(7)),
        train=titles(rows),
        validation=titles(rows[:2]),
        test=titles([]),
        summary={},
    )


@pytest.mark.parametrize("chunk", [1, 2, 4, 9, 1000])
@pytest.mark.parametrize("min_length", [1, 2, 4])
def test_short_titles_are_filled_up_with_padding(tmp_path, monkeypatch, chunk, min_length):
    monkeypatch.setattr(padded, "_CHUNK_TITLES", chunk)
    token_ids, offsets = padded_titles(
        prepared(ROWS), split="train", min_length=min_length, cache_dir=tmp_path
    )
    found = [token_ids[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]
    assert found == [row + [0] * (min_length - len(row)) for row in ROWS]
    assert (token_ids.dtype, offsets.dtype) == (np.int32, np.int64)


def test_titles_that_are_long_enough_are_taken_as_they_are(tmp_path):
    data = prepared([[2, 3], [4, 5, 6]])
    token_ids, offsets = padded_titles(data, split="train", min_length=2, cache_dir=tmp_path)
    assert token_ids is data.train.token_ids and offsets is data.train.offsets
    padded_titles(data, split="test", min_length=2, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_they_are_written_once(tmp_path, monkeypatch):
    first = padded_titles(prepared(ROWS), split="train", min_length=3, cache_dir=tmp_path)
    monkeypatch.delattr(padded, "_write")
    again = padded_titles(prepared(ROWS), split="train", min_length=3, cache_dir=tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_each_split_and_length_has_its_own(tmp_path):
    sizes = [
        len(padded_titles(prepared(ROWS), split=split, min_length=n, cache_dir=tmp_path)[0])
        for split in ("train", "validation")
        for n in (2, 3)
    ]
    assert sizes == [2 * 8 + 5, 3 * 8 + 5, 4, 6]
