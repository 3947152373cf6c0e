"""Skip-gram word vectors trained by gensim on the train titles.

Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality"
(arXiv:1310.4546), with negative sampling. The settings are for titles: a few words each, so the
window spans all of them, and few of them, so it takes several passes with a large learning rate.
On 41,083 titles of the default data (5 nearest titles by cosine of the mean vector, balanced
accuracy over 317 families) gensim's own learning rate and subsampling reach 0.40 after 20
passes, these 0.48. A learning rate of 0.2 gains another 0.01 there, but on 67,468 longer titles
the vectors then grow to a standard deviation of 0.7 and lose 0.03.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.cache import Progress
from data_utils.prepared import Titles
from data_utils.vocabulary import UNKNOWN_ID

LEARNING_RATE = 0.1
MIN_LEARNING_RATE = 0.0001
NEGATIVE = 5
WINDOW = 20
SUBSAMPLING = 1e-4  # share of all tokens above which a token is left out at random
MAX_PASSES = 20
# Pairs of words, counted before subsampling: what bounds the time (10 to 60 s on one core) on
# any number of titles. Above it, one pass over a random part of the titles is made.
MAX_PAIRS = 24_000_000
# What bounds the memory: gensim holds two matrices of this many rows. Rarer tokens stay untrained.
MAX_TRAINED_TOKENS = 400_000
_CHUNK_TITLES = 5_000

SETTINGS = {
    "learning_rate": [LEARNING_RATE, MIN_LEARNING_RATE],
    "negative": NEGATIVE,
    "window": WINDOW,
    "subsampling": SUBSAMPLING,
    "passes": MAX_PASSES,
    "pairs": MAX_PAIRS,
    "tokens": MAX_TRAINED_TOKENS,
}


def train_skipgram(
    titles: Titles,
    vocabulary_size: int,
    *,
    dim: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (vocabulary_size, dim) by token id, and which of them were trained.

    The others are zeros: ``<pad>``, ``<unk>``, and tokens beyond the bounds above. Equal titles,
    ``dim`` and ``seed`` give equal bits in any process of one machine: one thread, vectors
    initialised by row and not by a hash of the token, and titles in an order drawn by the seed.
    """
    order, passes = _plan(titles, seed)
    trained = _trained_tokens(titles, order, vocabulary_size)
    vectors = np.zeros((vocabulary_size, dim), dtype=np.float32)
    is_trained = np.zeros(vocabulary_size, dtype=np.bool_)
    if not len(trained):
        return vectors, is_trained
    ids, counts = trained[:, 0], trained[:, 1]
    keys = np.full(vocabulary_size, -1, dtype=np.int64)  # gensim passes over what it has not seen
    keys[ids] = np.arange(len(ids))
    model = _new_model(counts, dim=dim, seed=seed)
    num_chunks = -(-len(order) // _CHUNK_TITLES) * passes
    for done, sentences in enumerate(_sentences(titles, order, keys, passes)):
        start, end = (_learning_rate(step / num_chunks) for step in (done, done + 1))
        model.train(
            sentences, total_examples=len(sentences), epochs=1, start_alpha=start, end_alpha=end
        )
        if progress is not None:
            progress("training word vectors on the train titles", (done + 1) / num_chunks)
    vectors[ids] = model.wv.vectors
    is_trained[ids] = True
    return vectors, is_trained


def _plan(titles: Titles, seed: int) -> tuple[NDArray[np.int64], int]:
    """The titles to train on, in the order to do it, and the number of passes over them."""
    lengths = np.diff(titles.offsets)
    pairs = lengths * np.minimum(lengths - 1, 2 * WINDOW)  # 0 for an empty title
    order = np.random.default_rng(seed).permutation(len(titles))
    cumulative = pairs[order].cumsum()
    total = int(cumulative[-1]) if len(order) else 0
    if total > MAX_PAIRS:
        order = order[: int(np.searchsorted(cumulative, MAX_PAIRS)) + 1]
    return order, max(1, min(MAX_PASSES, MAX_PAIRS // max(total, 1)))


def _trained_tokens(
    titles: Titles, order: NDArray[np.int64], vocabulary_size: int
) -> NDArray[np.int64]:
    """Rows (token id, count in the titles to train on), the most frequent tokens first."""
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    for start in range(0, len(order), _CHUNK_TITLES):
        token_ids, _ = _gather(titles, order[start : start + _CHUNK_TITLES])
        counts += np.bincount(token_ids, minlength=vocabulary_size)
    counts[: UNKNOWN_ID + 1] = 0
    by_count = np.argsort(-counts, kind="stable")[:MAX_TRAINED_TOKENS]
    ids = by_count[counts[by_count] > 0]
    return np.stack([ids, counts[ids]], axis=1)


def _new_model(counts: NDArray[np.int64], *, dim: int, seed: int) -> Any:
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=dim,
        sg=1,
        hs=0,
        negative=NEGATIVE,
        window=WINDOW,
        shrink_windows=False,
        # In a small vocabulary every token is frequent: all but the outstanding ones are kept.
        sample=max(SUBSAMPLING, 2 / (len(counts) + 2)),
        alpha=LEARNING_RATE,
        min_alpha=MIN_LEARNING_RATE,
        min_count=1,
        seed=seed % 2**32,
        hashfxn=_no_hash,
        workers=1,
        # Key k is row k already. gensim would sort ties differently from one CPU to the other.
        sorted_vocab=0,
    )
    model.lifecycle_events = None  # it would log every chunk
    model.build_vocab_from_freq(dict(enumerate(counts.tolist())))
    return model


def _no_hash(text: str) -> int:
    raise NotImplementedError("a vector that depends on a hash differs from process to process")


def _learning_rate(fraction: float) -> float:
    return LEARNING_RATE + (MIN_LEARNING_RATE - LEARNING_RATE) * fraction


def _sentences(
    titles: Titles, order: NDArray[np.int64], keys: NDArray[np.int64], passes: int
) -> Iterator[list[list[int]]]:
    """Chunk after chunk of titles as lists, so that only one chunk is ever in lists."""
    for _ in range(passes):
        for start in range(0, len(order), _CHUNK_TITLES):
            token_ids, offsets = _gather(titles, order[start : start + _CHUNK_TITLES])
            flat = keys[token_ids].tolist()
            ends = offsets.tolist()
            yield [flat[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def _gather(
    titles: Titles, indices: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Token ids and offsets of some titles, in the order of ``indices``."""
    starts = titles.offsets[indices]
    lengths = titles.offsets[indices + 1] - starts
    offsets = np.zeros(len(indices) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    positions = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return titles.token_ids[positions], offsets
