"""Mean word vectors of titles, computed once: all that an MLP over frozen vectors sees."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import ArrayWriter, load_array
from data_utils.cache import Progress, build_once
from data_utils.prepared import SPLITS, PreparedData, Titles
from data_utils.vectors import WordVectors

_FORMAT = 1
_FEATURES = "features.npy"
_CHUNK_BYTES = 32 << 20


def pooled_features(
    prepared: PreparedData,
    vectors: WordVectors,
    *,
    split: str,
    cache_dir: Path,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Mean vector of each title of a split: (N, dim) float32, memory-mapped from ``cache_dir``.

    The mean runs over all tokens of a title, unknown ones included with the vector of ``<unk>``,
    as in the networks. A title without tokens gets zeros. Built by the first process that asks,
    shared by all others through the page cache, verified on opening.

    Raises DataError when the cache cannot be written.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    titles: Titles = getattr(prepared, split)
    key = f"{_FORMAT} {prepared.fingerprint} {split} {vectors.fingerprint}"
    folder = cache_dir / "pooled" / hashlib.sha256(key.encode()).hexdigest()[:32]

    def build(partial: Path) -> None:
        _write_features(partial / _FEATURES, titles, vectors.matrix, split, progress)

    return load_array(build_once(folder, build, progress=progress) / _FEATURES)


def _write_features(
    path: Path,
    titles: Titles,
    matrix: NDArray[np.float32],
    split: str,
    progress: Progress | None,
) -> None:
    dim = matrix.shape[1]
    rows = max(1, _CHUNK_BYTES // (4 * dim))
    with ArrayWriter(path, np.float32, (dim,)) as writer:
        for start in range(0, len(titles), rows):
            end = min(start + rows, len(titles))
            offsets = titles.offsets[start : end + 1]
            token_ids = titles.token_ids[offsets[0] : offsets[-1]]
            writer.append(pool(token_ids, offsets - offsets[0], matrix))
            if progress is not None:
                progress(f"pooling the {split} titles", end / len(titles))


def pool(
    token_ids: NDArray[np.int32], offsets: NDArray[np.int64], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean of the rows of ``matrix`` (V, dim) over each segment: (N, dim), zeros where empty.

    Segment i is ``token_ids[offsets[i]:offsets[i + 1]]``.
    """
    from scipy.sparse import csr_matrix

    # Row i of a sparse (N, V) matrix has a one for each token of title i: the product with the
    # vectors sums them without ever holding the T vectors. np.add.reduceat does hold them, and
    # gives an empty title the vector of the next title's first token.
    num_titles = len(offsets) - 1
    ones = np.ones(len(token_ids), dtype=np.float32)
    counts = csr_matrix((ones, token_ids, offsets), shape=(num_titles, len(matrix)))
    lengths = np.maximum(np.diff(offsets), 1).astype(np.float32)
    means: NDArray[np.float32] = counts @ matrix / lengths[:, None]
    return means
