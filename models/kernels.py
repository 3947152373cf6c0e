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
# Of ``LazyRows``: the table (V, E), moments (V, 2, E), steps (V,) and moment steps (V,); its plan.
State = tuple[Floats, Floats, Ids, Ids]
Plan = tuple[Any, Any, Any, Any, Any, Any, Any, Any]

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
def _factors(
    step: int, moment_step: int, now: int, plan: Plan
) -> tuple[np.float32, np.float32, np.float32]:
    """What brings a row from ``step`` to ``now``: see ``LazyRows._factors``."""
    kept, to_come, ratios, _, _, epsilons, segments, falls = plan
    scale, coming, age = kept[now] / kept[step], to_come[step], step - moment_step
    if segments[now] != segments[step]:
        fall = falls[segments[now] - segments[step]]
        scale, coming = scale * fall, coming * fall
    if moment_step == 0:
        return np.float32(scale), np.float32(0), epsilons[moment_step]
    move = (coming - ratios[now - step] * to_come[now]) * kept[now] * ratios[age]
    return np.float32(scale), np.float32(move), epsilons[moment_step]


@_compiled
def read_rows(state: State, row_ids: Ids, now: int, plan: Plan) -> Floats:
    """The values (U, E) at which the rows ``row_ids`` (U,) stand at step ``now``."""
    table, moments, steps, moment_steps = state
    found = np.empty((len(row_ids), table.shape[1]), np.float32)
    for u in range(len(row_ids)):
        r = row_ids[u]
        values, row, first, root = found[u], table[r], moments[r, 0], moments[r, 1]
        scale, move, epsilon = _factors(steps[r], moment_steps[r], now, plan)
        for j in range(len(row)):
            values[j] = scale * row[j] - move * first[j] / (root[j] + epsilon)
    return found


@_compiled
def update_rows(state: State, now: int, plan: Plan) -> None:
    """Bring all rows of the ``table`` (V, E) to step ``now``. Most are left alone."""
    table, moments, steps, moment_steps = state
    for v in range(len(table)):
        row = table[v]
        scale, move, epsilon = _factors(steps[v], moment_steps[v], now, plan)
        steps[v] = now
        if move != 0:
            first, root = moments[v, 0], moments[v, 1]
            for j in range(len(row)):
                row[j] = scale * row[j] - move * first[j] / (root[j] + epsilon)
        elif scale != 1:
            for j in range(len(row)):
                row[j] *= scale


@_compiled
def write_rows(
    state: State,
    row_ids: Ids,
    now: int,
    plan: Plan,
    values: Floats,
    gradients: Floats,
    scalars: tuple[float, float, float, float, float],
) -> None:
    """Step ``now`` of AdamW: the rows that stand at ``values`` (U, E) moved by ``gradients``
    (U, E).

    ``scalars``: what a new gradient adds to the first and to the second moment, what decay
    leaves of a value, the learning rate without bias, epsilon.
    """
    table, moments, steps, moment_steps = state
    first_new, second_new = np.float32(scalars[0]), np.float32(scalars[1])
    kept, move, epsilon = np.float32(scalars[2]), np.float32(scalars[3]), np.float32(scalars[4])
    for u in range(len(row_ids)):
        r = row_ids[u]
        row, standing, gradient = table[r], values[u], gradients[u]
        first, root, gap = moments[r, 0], moments[r, 1], now - moment_steps[r]
        first_old, second_old = plan[3][gap], plan[4][gap]
        steps[r] = moment_steps[r] = now
        for j in range(len(row)):
            g = gradient[j]
            first[j] = first_old * first[j] + first_new * g
            root[j] = np.sqrt(second_old * root[j] * root[j] + second_new * g * g)
        # A loop of its own: with more than four arrays the compiler does not vectorise.
        for j in range(len(row)):
            row[j] = kept * standing[j] - move * first[j] / (root[j] + epsilon)


@_compiled
def drop(values: Floats, random: Bytes, kept: int, scale: float) -> None:
    """Dropout in place: of ``values`` (B, F), those whose byte is below ``kept``, scaled."""
    factor = np.float32(scale)
    for b in range(len(values)):
        row, byte = values[b], random[b]
        for j in range(len(row)):
            row[j] = row[j] * factor if byte[j] < kept else np.float32(0)


@_compiled
def relu_dropout(values: Floats, bias: Floats, random: Bytes, kept: int, scale: float) -> None:
    """``dropout(relu(values + bias))`` in place, of (B, F) and (F,). NaN is passed on."""
    factor = np.float32(scale)
    for b in range(len(values)):
        row, byte = values[b], random[b]
        for j in range(len(row)):
            value = row[j] + bias[j]
            none = (byte[j] >= kept) | (value <= 0)
            row[j] = np.float32(0) if none else value * factor


@_compiled
def relu_dropout_backward(
    gradients: Floats, values: Floats, bias_gradient: Floats, scale: float
) -> None:
    """The ``gradients`` (B, F) of ``relu_dropout``'s result ``values``, in place into those of
    what it was given; and their sum over the titles: (F,)."""
    factor = np.float32(scale)
    for j in range(len(bias_gradient)):
        bias_gradient[j] = 0
    for b in range(len(gradients)):
        row, value = gradients[b], values[b]
        for j in range(len(row)):
            gradient = np.float32(0) if value[j] <= 0 else row[j] * factor
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
def take_means(rows: Floats, ids: Any, offsets: Any) -> Floats:
    """The mean (B, E) of the ``rows`` (U, E) that each title's ids name; zero for no ids."""
    means = np.zeros((len(offsets) - 1, rows.shape[1]), np.float32)
    for b in range(len(means)):
        mean = means[b]
        for k in range(offsets[b], offsets[b + 1]):
            row = rows[ids[k]]
            for j in range(len(mean)):
                mean[j] += row[j]
        share = np.float32(1) / np.float32(max(offsets[b + 1] - offsets[b], 1))
        for j in range(len(mean)):
            mean[j] *= share
    return means


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
def windows(token_ids: Any, offsets: Ids, length: int, multiple: int) -> tuple[Any, Ids]:
    """As ``models.filters.windows`` on a CPU: ids (W, length) and titles (W,)."""
    most = len(token_ids) + multiple
    ids, titles, count = np.empty((most, length), token_ids.dtype), np.empty(most, np.int64), 0
    for b in range(len(offsets) - 1):
        for t in range(offsets[b], offsets[b + 1] - length + 1):
            if t > offsets[b] and token_ids[t + length - 1] == 0:
                break
            for k in range(length):
                ids[count, k] = token_ids[t + k]
            titles[count] = b
            count += 1
    while count % multiple:
        for k in range(length):
            ids[count, k] = ids[0, k]
        titles[count] = titles[0]
        count += 1
    return ids[:count], titles[:count]


@_compiled
def number_by_position(window_ids: Any, num_words: int) -> tuple[Ids, Ids, NDArray[np.int32]]:
    """The different words at each position of windows (W, k), the padding left out: those of
    all positions in a row (P,), how many each has (k,), and the place in that row of each word
    of the windows (W, k), -1 for padding."""
    num_windows, length = window_ids.shape
    words, sizes = np.empty(num_windows * length, np.int64), np.empty(length, np.int64)
    places = np.full((num_windows, length), -1, np.int32)
    last, count = np.full(num_words, -1, np.int32), 0
    for k in range(length):
        first = count
        for w in range(num_windows):
            word = window_ids[w, k]
            if word == 0:
                continue
            if last[word] < first:  # not yet at this position
                last[word] = count
                words[count] = word
                count += 1
            places[w, k] = last[word]
        sizes[k] = count - first
    return words[:count], sizes, places


@_compiled
def take_maxima_of_sums(
    products: Floats, places: Any, titles: Ids, num_titles: int
) -> tuple[Floats, Any]:
    """The greatest answers of each title, (B, F), and in which window each stands (the first of
    equals). The answers of window w, of title ``titles[w]``, are the sum of those ``products``
    (P, F) that ``places`` (W, k) names; titles ascend but for copies of the first window at the
    end."""
    best = np.empty((num_titles, products.shape[1]), np.float32)
    windows_of = np.empty(best.shape, np.int32)
    answer = np.empty(products.shape[1], np.float32)
    last = -1
    for w in range(len(titles)):
        for f in range(len(answer)):
            answer[f] = 0
        for k in range(places.shape[1]):
            if places[w, k] >= 0:
                product = products[places[w, k]]
                for f in range(len(answer)):
                    answer[f] += product[f]
        greatest, window = best[titles[w]], windows_of[titles[w]]
        first, last = titles[w] > last, max(titles[w], last)
        for f in range(len(answer)):
            greater = first | (answer[f] > greatest[f])
            greatest[f] = answer[f] if greater else greatest[f]
            window[f] = w if greater else window[f]
    return best, windows_of


@_compiled
def spread_maxima_of_sums(
    found: Floats, places: Any, titles: Ids, windows_of: Any, gradients: Floats
) -> None:
    """The backward pass of maxima of sums: add to ``found`` (P, F), at each place of a window,
    those ``gradients`` (B, F) of its title's greatest answers that stand in it."""
    share = np.empty(gradients.shape[1], np.float32)
    for w in range(len(titles)):
        window, gradient = windows_of[titles[w]], gradients[titles[w]]
        for f in range(len(share)):
            share[f] = gradient[f] if window[f] == w else np.float32(0)
        for k in range(places.shape[1]):
            if places[w, k] >= 0:
                target = found[places[w, k]]
                for f in range(len(share)):
                    target[f] += share[f]


@_compiled
def picked_losses(
    probabilities: Floats, logits: Floats, labels: Ids, class_weights: Floats
) -> float:
    """The sum of the weighted losses of a batch; the ``probabilities`` (B, K) are turned into
    its gradient."""
    total = 0.0
    for b in range(len(labels)):
        row, label = probabilities[b], labels[b]
        weight, picked = class_weights[label], row[label]
        if picked < 1e-30:  # too small to be exact: the way over the most probable class
            best = 0
            for k in range(len(row)):
                best = k if row[k] > row[best] else best
            total -= weight * (np.log(row[best]) + logits[b, label] - logits[b, best])
        else:
            total -= weight * np.log(picked)
        row[label] -= np.float32(1)
        for k in range(len(row)):
            row[k] *= weight
    return total
