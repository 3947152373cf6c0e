"""The steps of training that are loops over rows, compiled for the processor by Numba.

PyTorch does each of them in several passes over arrays that no longer fit in the cache, and
with random accesses in most of them. Here a row is read once, worked on and written once.
Arrays are NumPy views of tensors on the CPU; on a GPU PyTorch's own functions do the same.

Compiled code is kept on disk beside this file, or in the user's cache where that is not to be
written to: only the first process on a machine waits for the compiler, for a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Bytes = NDArray[np.uint8]

# Sums may be formed in any order, as everywhere in PyTorch; NaN and infinity stay what they are.
_FASTMATH = {"contract", "nsz", "reassoc"}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiler = partial(numba.njit, nogil=True, fastmath=_FASTMATH, error_model="numpy")
    try:
        return compiler(cache=True)(function)
    except RuntimeError:  # no folder for compiled code can be written to
        return compiler()(function)


@_compiled
def cut(token_ids: NDArray[np.int32], offsets: Ids, titles: Ids) -> tuple[Any, Ids]:
    """The tokens (T,) int32 of the ``titles`` (B,), and their offsets (B + 1,)."""
    starts = np.zeros(len(titles) + 1, np.int64)
    for b in range(len(titles)):
        starts[b + 1] = starts[b] + offsets[titles[b] + 1] - offsets[titles[b]]
    found = np.empty(starts[-1], token_ids.dtype)
    for b in range(len(titles)):
        first = offsets[titles[b]]
        for k in range(starts[b], starts[b + 1]):
            found[k] = token_ids[first + k - starts[b]]
    return found, starts


@_compiled
def number_words(token_ids: Any, places: NDArray[np.int32]) -> tuple[Ids, NDArray[np.int32]]:
    """The padding and then each different word of ``token_ids`` (T,), as it first comes: (U,);
    and each token's position among them (T,). ``places`` (V,) is all -1, before and after."""
    words = np.empty(len(token_ids) + 1, np.int64)
    positions = np.empty(len(token_ids), np.int32)
    words[0], places[0], count = 0, 0, 1
    for t in range(len(token_ids)):
        word = token_ids[t]
        if places[word] < 0:
            places[word] = count
            words[count] = word
            count += 1
        positions[t] = places[word]
    for u in range(count):
        places[words[u]] = -1
    return words[:count], positions


@_compiled
def read_rows(
    table: Floats,
    moments: Floats,
    row_ids: Ids,
    scales: Floats,
    moves: Floats,
    epsilons: Floats,
) -> Floats:
    """``scale * p - move * m / (root + epsilon)`` (U, E) of the rows ``row_ids`` (U,)."""
    found = np.empty((len(row_ids), table.shape[1]), np.float32)
    for u in range(len(row_ids)):
        values, row = found[u], table[row_ids[u]]
        first, root = moments[row_ids[u], 0], moments[row_ids[u], 1]
        scale, move, epsilon = scales[u], moves[u], epsilons[u]
        for j in range(len(row)):
            values[j] = scale * row[j] - move * first[j] / (root[j] + epsilon)
    return found


@_compiled
def update_rows(
    table: Floats, moments: Floats, scales: Floats, moves: Floats, epsilons: Floats
) -> None:
    """As ``read_rows``, of all rows of the ``table`` (V, E) and in place. Most are left alone."""
    for v in range(len(table)):
        row, scale, move, epsilon = table[v], scales[v], moves[v], epsilons[v]
        if move != 0:
            first, root = moments[v, 0], moments[v, 1]
            for j in range(len(row)):
                row[j] = scale * row[j] - move * first[j] / (root[j] + epsilon)
        elif scale != 1:
            for j in range(len(row)):
                row[j] *= scale


@_compiled
def write_rows(
    table: Floats,
    moments: Floats,
    row_ids: Ids,
    values: Floats,
    gradients: Floats,
    first_kept: Floats,
    second_kept: Floats,
    scalars: tuple[np.float32, np.float32, np.float32, np.float32, np.float32],
) -> None:
    """One step of AdamW: the rows that stand at ``values`` (U, E) moved by ``gradients`` (U, E).

    ``first_kept`` and ``second_kept`` (U,) are what is left of a row's moments (of the second,
    its root is kept). ``scalars``: what a new gradient adds to the first and to the second
    moment, what decay leaves of a value, the learning rate without bias, epsilon.
    """
    first_new, second_new, kept, move, epsilon = scalars
    for u in range(len(row_ids)):
        row, standing, gradient = table[row_ids[u]], values[u], gradients[u]
        first, root = moments[row_ids[u], 0], moments[row_ids[u], 1]
        first_old, second_old = first_kept[u], second_kept[u]
        for j in range(len(row)):
            g = gradient[j]
            m = first_old * first[j] + first_new * g
            r = np.sqrt(second_old * root[j] * root[j] + second_new * g * g)
            first[j], root[j] = m, r
        # A loop of its own: with more than four arrays the compiler does not vectorise.
        for j in range(len(row)):
            row[j] = kept * standing[j] - move * first[j] / (root[j] + epsilon)


@_compiled
def drop(values: Floats, random: Bytes, kept: np.uint8, scale: np.float32) -> None:
    """Dropout in place: of ``values`` (B, F), those whose byte is below ``kept``, scaled."""
    for b in range(len(values)):
        row, byte = values[b], random[b]
        for j in range(len(row)):
            row[j] = row[j] * scale if byte[j] < kept else np.float32(0)


@_compiled
def relu_dropout(
    values: Floats, bias: Floats, random: Bytes, kept: np.uint8, scale: np.float32
) -> None:
    """``dropout(relu(values + bias))`` in place, of (B, F) and (F,). NaN is passed on."""
    for b in range(len(values)):
        row, byte = values[b], random[b]
        for j in range(len(row)):
            value = row[j] + bias[j]
            none = (byte[j] >= kept) | (value <= 0)
            row[j] = np.float32(0) if none else value * scale


@_compiled
def relu_dropout_backward(
    gradients: Floats, values: Floats, bias_gradient: Floats, scale: np.float32
) -> None:
    """The ``gradients`` (B, F) of ``relu_dropout``'s result ``values``, in place into those of
    what it was given; and their sum over the titles: (F,)."""
    bias_gradient[:] = 0
    for b in range(len(gradients)):
        row, value = gradients[b], values[b]
        for j in range(len(row)):
            gradient = np.float32(0) if value[j] <= 0 else row[j] * scale
            row[j] = gradient
            bias_gradient[j] += gradient


@_compiled
def add_rows(found: Floats, ids: Any, rows: Floats) -> None:
    """Add each of ``rows`` (N, E) to the row of ``found`` (U, E) that ``ids`` (N,) names."""
    for n in range(len(ids)):
        target, row = found[ids[n]], rows[n]
        for j in range(len(row)):
            target[j] += row[j]


@_compiled
def spread_means(found: Floats, ids: Any, offsets: Any, gradients: Floats) -> None:
    """The backward pass of means: to each token's row of ``found`` (U, E), its share of the
    title's ``gradients`` (B, E)."""
    for b in range(len(offsets) - 1):
        gradient = gradients[b]
        share = np.float32(1) / np.float32(max(offsets[b + 1] - offsets[b], 1))
        for k in range(offsets[b], offsets[b + 1]):
            target = found[ids[k]]
            for j in range(len(gradient)):
                target[j] += share * gradient[j]


@_compiled
def share_maxima(answers: Floats, best: Floats, titles: Ids, gradients: Floats) -> None:
    """The backward pass of maxima ``best`` (B, F), into ``answers`` (W, F), whose window w is of
    title ``titles[w]`` (ascending but for copies of the first at the end): equal greatest answers
    share the title's ``gradients`` (B, F), all others get zero."""
    counts = np.zeros(best.shape, np.float32)
    for w in range(len(titles)):
        answer, greatest, count = answers[w], best[titles[w]], counts[titles[w]]
        for f in range(len(answer)):
            count[f] += answer[f] == greatest[f]
    for w in range(len(titles)):
        answer, greatest, count = answers[w], best[titles[w]], counts[titles[w]]
        gradient = gradients[titles[w]]
        for f in range(len(answer)):
            hit = answer[f] == greatest[f]
            answer[f] = gradient[f] / count[f] if hit else np.float32(0)
