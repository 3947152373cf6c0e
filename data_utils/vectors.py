"""Word vectors for a vocabulary: from a pretrained file, or trained on the train titles.

Both are built once into the cache and memory-mapped by every process.

- ``<pad>`` is zeros.
- ``<unk>`` is the mean of the vectors found: the least wrong guess about a token of which
  nothing is known.
- A token without a vector gets normal noise with the standard deviation of the values found, so
  that it is as long as the others and like none of them. It depends on the token and the seed
  alone, so it is the same in any vocabulary.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import load_array, save_array
from data_utils.cache import Progress, build_once, find_damage
from data_utils.errors import DataError
from data_utils.file_digest import file_digest
from data_utils.prepared import PreparedData
from data_utils.skipgram import SETTINGS, train_skipgram
from data_utils.vector_files import MISSING, check_width, read_vectors
from data_utils.vocabulary import PAD_ID, UNKNOWN_ID, Vocabulary

DEFAULT_DIM = 300

_FORMAT = 2
_CHUNK_ROWS = 8192
_MATRIX = "vectors.npy"
_META = "meta.json"


@dataclass(frozen=True)
class WordVectors:
    """One vector for each token id.

    ``found`` and ``missing`` count the vocabulary's tokens (without ``<pad>`` and ``<unk>``) with
    a vector and with noise in its place; ``coverage`` is the share of the train titles' tokens,
    each counted as often as it occurs, that have one. ``undecodable`` counts the file's tokens
    that are not UTF-8.
    """

    matrix: NDArray[np.float32]  # (V, dim), memory-mapped
    found: int
    missing: int
    coverage: float
    undecodable: int
    source: str
    fingerprint: str

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.matrix.shape[1]


def word_vectors(
    prepared: PreparedData,
    *,
    path: Path | None = None,
    dim: int | None = None,
    cache_dir: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> WordVectors:
    """Vectors for the vocabulary, from the file ``path`` or else trained on the train titles.

    ``dim`` is the width wanted: None takes the file's, or 300 without a file. Equal data, file
    (by content), ``dim`` and ``seed`` give equal bits, built once in ``cache_dir`` and verified
    on opening; the file must still be there then.

    Raises DataError for a file that ``read_vectors`` refuses or that has none of the tokens, and
    if the cache cannot be written.
    """
    if dim is not None and dim < 1:
        raise DataError(f"the width of word vectors must be at least 1, got {dim}")
    memo_dir = cache_dir / "vectors"
    settings: dict[str, Any] = {"format": _FORMAT, "data": prepared.fingerprint, "seed": seed}
    if path is None:
        settings |= {"dim": dim or DEFAULT_DIM, "skipgram": SETTINGS, "gensim": version("gensim")}
    else:
        settings["file"] = file_digest(path, memo_dir, progress=progress)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    def build(partial: Path) -> None:
        if path is None:
            built = _train(prepared, dim or DEFAULT_DIM, seed, progress)
        else:
            built = _read(prepared, path, dim, progress)
            if file_digest(path, memo_dir) != settings["file"]:
                raise DataError(f"{path} changed while it was read: try again when it is complete")
        meta = _complete(prepared, built, seed, progress)
        save_array(partial / _MATRIX, built.matrix)
        (partial / _META).write_text(json.dumps(meta), "utf-8")

    folder = build_once(memo_dir / key, build, progress=progress)
    source = "skip-gram on the train titles" if path is None else path.name
    found = _open(folder, source)
    if path is not None:
        check_width(path, found.dim, dim)
    return found


def find_vectors(cache_dir: Path, fingerprint: str, *, source: str) -> WordVectors | None:
    """Vectors of this fingerprint that were made under ``cache_dir`` before, wherever their file
    is now; None if they are not there, or damaged. ``source`` is what the file was called."""
    folder = cache_dir / "vectors" / fingerprint
    if not re.fullmatch("[0-9a-f]{32}", fingerprint) or find_damage(folder) is not None:
        return None
    return _open(folder, source)


def _open(folder: Path, source: str) -> WordVectors:
    meta = json.loads((folder / _META).read_text("utf-8"))
    matrix = load_array(folder / _MATRIX)
    return WordVectors(matrix=matrix, source=source, fingerprint=folder.name, **meta)


@dataclass(frozen=True)
class _Built:
    matrix: NDArray[np.float32]  # (V, dim), what is not found still to be filled
    is_found: NDArray[np.bool_]  # (V,)
    undecodable: int

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.matrix.shape[1]


def _train(prepared: PreparedData, dim: int, seed: int, progress: Progress | None) -> _Built:
    vectors, is_trained = train_skipgram(
        prepared.train, len(prepared.vocabulary), dim=dim, seed=seed, progress=progress
    )
    return _Built(vectors, is_trained, undecodable=0)


def _read(
    prepared: PreparedData, path: Path, dim: int | None, progress: Progress | None
) -> _Built:
    read = read_vectors(path, prepared.vocabulary, dim=dim, progress=progress)
    is_found = read.matches != MISSING
    if not is_found.any():
        raise DataError(
            f"{path} has vectors for none of the {len(is_found) - UNKNOWN_ID - 1} tokens: "
            "give vectors of the titles' language"
        )
    return _Built(read.vectors, is_found, read.num_undecodable)


def _complete(
    prepared: PreparedData, built: _Built, seed: int, progress: Progress | None
) -> dict[str, Any]:
    """Fill in what is not found, in place; returns what there is to say about it."""
    mean, deviation = _moments(built.matrix, built.is_found)
    built.matrix[PAD_ID] = 0
    built.matrix[UNKNOWN_ID] = mean
    words = prepared.vocabulary.words
    first_word, first_stem = UNKNOWN_ID + 1, UNKNOWN_ID + 1 + len(words)
    built.is_found[first_stem:] = False
    missing = np.flatnonzero(~built.is_found[:first_stem])
    missing = missing[missing > UNKNOWN_ID]
    for start in range(0, len(missing), _CHUNK_ROWS):
        ids = missing[start : start + _CHUNK_ROWS]
        noise = token_noise([words[n - first_word] for n in ids.tolist()], built.dim, seed)
        built.matrix[ids] = deviation * noise
        if progress is not None:
            progress("vectors for words without one", (start + len(ids)) / len(missing))
    _fill_stems(built, prepared.vocabulary, progress)
    counts = np.bincount(prepared.train.token_ids, minlength=len(built.is_found))
    return {
        "found": int(built.is_found.sum()),
        "missing": len(missing),
        "coverage": float(counts[built.is_found].sum() / max(counts.sum(), 1)),
        "undecodable": built.undecodable,
    }


def _fill_stems(built: _Built, vocabulary: Vocabulary, progress: Progress | None) -> None:
    """A stem's vector is the mean of its words': all that is known of a word never seen."""
    stem_ids = vocabulary.stem_ids
    words = np.flatnonzero(stem_ids)
    words = words[np.argsort(stem_ids[words], kind="stable")]  # those of each stem together
    stems = stem_ids[words]
    first, end = UNKNOWN_ID + 1 + len(vocabulary.words), len(vocabulary)
    for start in range(first, end, _CHUNK_ROWS):
        stop = min(start + _CHUNK_ROWS, end)
        here = slice(*np.searchsorted(stems, (start, stop)))
        places = stems[here] - start
        totals = np.zeros((stop - start, built.dim))
        np.add.at(totals, places, built.matrix[words[here]])
        built.matrix[start:stop] = totals / np.bincount(places)[:, None]
        if progress is not None:
            progress("vectors for stems", (stop - first) / (end - first))


def _moments(
    matrix: NDArray[np.float32], is_found: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Mean vector (dim,) of the rows found, and the standard deviation of all their values."""
    total = np.zeros(matrix.shape[1])
    squares = 0.0
    ids = np.flatnonzero(is_found)
    for start in range(0, len(ids), _CHUNK_ROWS):
        rows = matrix[ids[start : start + _CHUNK_ROWS]].astype(np.float64)
        total += rows.sum(axis=0)
        squares += float((rows**2).sum())
    mean = total / max(len(ids), 1)
    variance = squares / max(len(ids) * len(mean), 1) - float(mean.mean()) ** 2
    return mean, max(variance, 0.0) ** 0.5


def token_noise(tokens: list[str], dim: int, seed: int) -> NDArray[np.float32]:
    """Standard normal values (N, dim); a row depends on its token and the seed alone.

    A counter-based generator (SplitMix64, Steele et al. 2014) started from a hash of the token,
    and Box-Muller: a NumPy generator for each token would take 15 times as long.
    """
    starts = np.array([_hash(token, seed) for token in tokens], dtype=np.uint64)
    pairs = -(-dim // 2)
    steps = np.arange(1, 2 * pairs + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = starts[:, None] + steps
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    uniform = ((bits >> np.uint64(40)).astype(np.float32) + 0.5) / 2**24  # never 0: log(0)
    radius = np.sqrt(-2 * np.log(uniform[:, :pairs]))
    angle = 2 * np.pi * uniform[:, pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal[:, :dim].astype(np.float32)


def _hash(token: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed} {token}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
