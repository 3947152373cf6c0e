"""The matrix for a vocabulary: what each row is, and the cache that it comes from."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import DataError
from data_utils.prepared import PreparedData, Titles
from data_utils.stemming import Stemmer
from data_utils.vectors import WordVectors, token_noise, word_vectors
from data_utils.vocabulary import Vocabulary

TOKENS = ["silla", "mesa", "rara", "lampara", "otra"]


def titles(rows: list[list[int]]) -> Titles:
    return Titles(
        token_ids=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        labels=np.zeros(len(rows), dtype=np.int32),
        text_bytes=np.zeros(0, dtype=np.uint8),
        text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
    )


def prepared(tokens: list[str] = TOKENS, *, fingerprint: str = "a") -> PreparedData:
    rows = [[2, 3, 2], [], [4, 1], [5, 6, 2, 3]]
    return PreparedData(
        folder=Path("unused"),
        name="test",
        fingerprint=fingerprint,
        labels=("x", "y"),
        vocabulary=Vocabulary(tokens),
        train=titles(rows),
        validation=titles([[1]]),
        test=titles([[]]),
        summary={},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Vectors of "silla", "mesa" and "lampara"."""
    path = tmp_path / "vectors.vec"
    path.write_text("4 3\nsilla 1 2 3\nxyz 9 9 9\nMesa 3 2 1\nlampara -1 0 2\n")
    return path


def matrix(path: Path, cache_dir: Path, **settings: int) -> WordVectors:
    return word_vectors(prepared(), path=path, cache_dir=cache_dir, **settings)


def built(cache_dir: Path) -> list[Path]:
    return [entry for entry in (cache_dir / "vectors").iterdir() if entry.is_dir()]


def test_found_tokens_have_the_vectors_of_the_file(path: Path, tmp_path: Path) -> None:
    vectors = matrix(path, tmp_path / "cache")
    np.testing.assert_array_equal(vectors.matrix[[2, 3, 5]], [[1, 2, 3], [3, 2, 1], [-1, 0, 2]])
    assert vectors.matrix.dtype == np.float32
    assert (vectors.found, vectors.missing, vectors.source) == (3, 2, "vectors.vec")


def test_coverage_counts_train_tokens_as_often_as_they_occur(path: Path, tmp_path: Path) -> None:
    # silla 3, mesa 2, lampara 1 of 9 tokens, one of which is unknown
    assert matrix(path, tmp_path / "cache").coverage == pytest.approx(6 / 9)


def test_padding_is_zeros_and_unknown_the_mean_of_the_found(path: Path, tmp_path: Path) -> None:
    vectors = matrix(path, tmp_path / "cache")
    assert not vectors.matrix[0].any()
    np.testing.assert_allclose(vectors.matrix[1], [1, 4 / 3, 2], rtol=1e-6)


def seconds_to_complete(number: int, folder: Path) -> float:
    """Processor time for a vocabulary of which half of the words are missing in the file."""
    words = [f"palabra{n}s" for n in range(number)]
    folder.mkdir()
    with (folder / "half.vec").open("w") as file:
        file.writelines(f"{word} {n % 7} 1\n" for n, word in enumerate(words[::2]))
    stemmed = replace(prepared(), vocabulary=Vocabulary(words, stemmer=Stemmer("spanish")))
    assert len(stemmed.vocabulary.stem_ids) > number  # made here: not what is measured
    started = time.process_time()
    vectors = word_vectors(stemmed, path=folder / "half.vec", cache_dir=folder / "cache")
    assert (vectors.found, vectors.missing) == (number // 2, number // 2)
    return time.process_time() - started


def test_missing_words_take_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    seconds_to_complete(100, tmp_path / "unmeasured")
    few, many = (seconds_to_complete(n, tmp_path / str(n)) for n in (2000, 12_000))
    assert many < 12 * few  # 36 where it grows with their square


def test_progress_is_told_while_missing_words_and_stems_get_vectors(
    path: Path, tmp_path: Path
) -> None:
    told = []
    vocabulary = Vocabulary(TOKENS, stemmer=Stemmer("spanish"))
    word_vectors(
        replace(prepared(), vocabulary=vocabulary),
        path=path,
        cache_dir=tmp_path / "cache",
        progress=lambda *what: told.append(what),
    )
    assert told[-2:] == [("vectors for words without one", 1.0), ("vectors for stems", 1.0)]


def test_missing_tokens_are_noise_as_large_as_the_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=0.25, size=(2, 2000))
    path = tmp_path / "wide.txt"
    path.write_text(
        "".join(
            f"{token} {' '.join(map(str, row))}\n"
            for token, row in zip(TOKENS, rows.tolist(), strict=False)
        )
    )
    vectors = matrix(path, tmp_path / "cache")
    assert vectors.missing == 3
    assert vectors.matrix[4].std() == pytest.approx(0.25, rel=0.1)
    assert abs(np.corrcoef(vectors.matrix[[4, 6]])[0, 1]) < 0.1


def test_noise_is_standard_normal_at_an_odd_width() -> None:
    noise = token_noise([f"t{index}" for index in range(500)], 101, seed=3)
    assert noise.shape == (500, 101)
    assert np.isfinite(noise).all()
    ordered = np.sort(noise, axis=None)
    for quantile, expected in ((0.0228, -2), (0.1587, -1), (0.5, 0), (0.8413, 1), (0.9772, 2)):
        assert ordered[int(quantile * noise.size)] == pytest.approx(expected, abs=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(101)).max() < 0.25  # columns are independent


def test_noise_depends_on_the_token_and_the_seed_alone() -> None:
    both = token_noise(["silla", "mesa"], 8, seed=0)
    np.testing.assert_array_equal(token_noise(["mesa"], 8, seed=0)[0], both[1])
    assert not np.array_equal(token_noise(["mesa"], 8, seed=1)[0], both[1])
    assert not np.array_equal(both[0], both[1])


def test_the_second_call_reads_the_cache(path: Path, tmp_path: Path) -> None:
    first = matrix(path, tmp_path / "cache")
    messages: list[str] = []
    second = word_vectors(
        prepared(),
        path=path,
        cache_dir=tmp_path / "cache",
        progress=lambda message, _: messages.append(message),
    )
    assert messages == []  # neither hashed nor read again
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert first.fingerprint == second.fingerprint
    assert isinstance(second.matrix, np.memmap)
    assert second.matrix.flags.writeable  # copy-on-write, for torch.from_numpy


def test_a_write_to_the_matrix_does_not_reach_the_cache(path: Path, tmp_path: Path) -> None:
    vectors = matrix(path, tmp_path / "cache")
    vectors.matrix[2] = 77
    assert matrix(path, tmp_path / "cache").matrix[2].tolist() == [1, 2, 3]


def test_a_copied_or_touched_file_shares_the_cache(path: Path, tmp_path: Path) -> None:
    first = matrix(path, tmp_path / "cache")
    copy = tmp_path / "copy.vec"
    copy.write_bytes(path.read_bytes())
    os.utime(path, (1, 1))
    assert matrix(path, tmp_path / "cache").fingerprint == first.fingerprint
    assert matrix(copy, tmp_path / "cache").fingerprint == first.fingerprint
    assert len(built(tmp_path / "cache")) == 1


def test_a_changed_file_of_equal_size_and_time_is_read_again(path: Path, tmp_path: Path) -> None:
    first = matrix(path, tmp_path / "cache")
    status = path.stat()
    path.write_text(path.read_text().replace("silla 1", "silla 7"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = matrix(path, tmp_path / "cache")
    assert second.matrix[2, 0] == 7
    assert second.fingerprint != first.fingerprint


def test_other_data_or_another_seed_has_other_vectors(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    prints = {
        matrix(path, cache).fingerprint,
        matrix(path, cache, seed=1).fingerprint,
        word_vectors(prepared(fingerprint="b"), path=path, cache_dir=cache).fingerprint,
    }
    assert len(prints) == 3


@pytest.mark.parametrize("file", ["vectors.npy", "meta.json", "manifest.json"])
def test_a_damaged_cache_is_built_again(path: Path, tmp_path: Path, file: str) -> None:
    first = np.array(matrix(path, tmp_path / "cache").matrix)
    (folder,) = built(tmp_path / "cache")
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / file).write_bytes(data)
    np.testing.assert_array_equal(matrix(path, tmp_path / "cache").matrix, first)


def test_a_damaged_digest_memo_is_written_again(path: Path, tmp_path: Path) -> None:
    first = matrix(path, tmp_path / "cache")
    (memo,) = (tmp_path / "cache" / "vectors").glob("*.digest.json")
    for damage in ("", "[]", "{", "{}"):
        memo.write_text(damage)
        assert matrix(path, tmp_path / "cache").fingerprint == first.fingerprint
        assert "digest" in json.loads(memo.read_text())


def test_a_wrong_width_is_refused_before_and_after_it_is_cached(
    path: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="width 3, not 300"):
            matrix(path, tmp_path / "cache", dim=300)
        assert matrix(path, tmp_path / "cache", dim=3).dim == 3


def test_a_refused_file_leaves_nothing_half_written(path: Path, tmp_path: Path) -> None:
    path.write_text(path.read_text() + "silla 1 2\n")
    with pytest.raises(DataError, match="line 6"):
        matrix(path, tmp_path / "cache")
    left = [entry.name for entry in (tmp_path / "cache" / "vectors").iterdir()]
    assert all(name.endswith(".digest.json") for name in left)


def test_a_file_without_any_of_the_tokens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "english.vec"
    path.write_text("2 3\nchair 1 2 3\ntable 1 2 3\n")
    with pytest.raises(DataError, match="none of the 5 tokens"):
        matrix(path, tmp_path / "cache")


@pytest.mark.parametrize("dim", [0, -3])
def test_a_width_below_one_is_refused(tmp_path: Path, dim: int) -> None:
    with pytest.raises(DataError, match="at least 1"):
        word_vectors(prepared(), dim=dim, cache_dir=tmp_path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        matrix(tmp_path / "absent.vec", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_clear_line(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot write"):
        matrix(path, tmp_path / "cache")


BUILDER = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_vectors", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
vectors = module.matrix(Path(sys.argv[2]), Path(sys.argv[3]))
print(vectors.matrix.sum(), vectors.fingerprint)
"""


def test_processes_that_build_at_once_get_the_same(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, __file__, str(path), str(tmp_path / "cache")]
    root = Path(__file__).parents[3]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] != ""
    assert len(set(outputs)) == 1
    assert len(built(tmp_path / "cache")) == 1
