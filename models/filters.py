"""The filters of one length: their greatest answers over the windows of each title.

A filter's answer at a window is a sum over its positions: the word there times the filter's
weights for that position. Titles share words, so at one position of a batch's windows many words
are the same. On a CPU each is multiplied once and an answer is the sum of what its words gave:
of the products of product titles, which are most of the time of a CNN, that leaves out a fifth
to a half in training and two thirds in evaluation. Padding is a zero vector and is never
multiplied. Elsewhere the windows are multiplied whole, as there a wait for the number of
different words, or many small products, would cost more than they save.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.compiled import kernels_for
from models.functions import Backward, add_rows
from models.weights import TrainedLinear

ROWS_MULTIPLE = 16
#: Fewer titles share too few words.
FEWEST_TITLES_TO_SHARE = 32
#: Of the words in a batch's windows, those to multiply: if they are more, one product of whole
#: windows takes less time, as it is nearer to what the processor can do than many small ones.
LARGEST_SHARE = 0.75


def greatest_answers(
    layer: nn.Module, rows: Tensor, token_ids: Tensor, offsets: Tensor, length: int
) -> Tensor:
    """The greatest answers (B, F) in each title of the filters ``layer``, (length * E) -> F.

    ``token_ids`` (T,) are positions in ``rows`` (U, E), of which row 0 is the padding; every
    title has at least ``length`` of them.
    """
    num_titles = len(offsets) - 1
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    ids, titles = windows(token_ids, offsets, length)
    if rows.is_cpu and num_titles >= FEWEST_TITLES_TO_SHARE:
        answers = _answers_by_words(weight, rows, ids)
    else:
        answers = gather_windows(rows, ids) @ weight.t()
    return max_over_windows(answers, titles, num_titles) + bias


def _answers_by_words(weight: Tensor, rows: Tensor, window_ids: Tensor) -> Tensor:
    """What filters of the ``weight`` (F, k * E) answer at windows (W, k): (W, F)."""
    length = window_ids.shape[1]
    keys = window_ids + torch.arange(length) * len(rows)
    pairs, places = torch.unique(keys, return_inverse=True)
    sizes = torch.bincount(pairs // len(rows), minlength=length).tolist()
    vectors = rows.index_select(0, pairs % len(rows)).split(sizes)
    products = torch.cat(
        [part @ weights for part, weights in zip(vectors, weight.t().chunk(length), strict=True)]
    )
    return nn.functional.embedding_bag(places, products, mode="sum")


def train_greatest_answers(
    layer: TrainedLinear,
    rows: Tensor,
    token_ids: Tensor,
    offsets: Tensor,
    length: int,
    *,
    frozen: bool,
) -> tuple[Tensor, Backward]:
    """As ``greatest_answers``, but without the bias, and with its backward pass.

    That keeps the gradient of the weight and gives that of the rows, in float32, or with
    ``frozen`` nothing of meaning. The gradient of a greatest answer goes to the first of equals,
    or is shared by them: equals are windows of the same words, for whose vectors and filters it
    makes no difference.
    """
    ids, titles = train_windows(token_ids, offsets, length)
    if kernels := kernels_for(rows):
        return _train_by_words(kernels, layer, rows, ids, titles, len(offsets) - 1, frozen)
    return _train_by_windows(layer, rows, ids, titles, len(offsets) - 1, frozen)


def _train_by_words(
    kernels: ModuleType,
    layer: TrainedLinear,
    rows: Tensor,
    window_ids: Tensor,
    window_titles: Tensor,
    num_titles: int,
    frozen: bool,
) -> tuple[Tensor, Backward]:
    titles = window_titles.numpy()
    parts, words, sizes, places = _shared_words(kernels, layer, window_ids, len(rows))
    vectors = rows.index_select(0, words).view(sum(sizes), parts[0].weight.shape[1])
    inputs = vectors.split(sizes)
    products = vectors.new_empty(len(vectors), layer.weight.shape[0])
    for part, part_inputs, found in zip(parts, inputs, products.split(sizes), strict=True):
        part.product(part_inputs, out=found)
    best, best_windows = kernels.take_maxima_of_sums(products.numpy(), places, titles, num_titles)

    def backward(gradient: Tensor) -> Tensor:
        found = products.zero_()
        arrays = found.numpy(), places, titles, best_windows, gradient.numpy()
        kernels.spread_maxima_of_sums(*arrays)
        gradients = found.split(sizes)
        for part, part_inputs, part_gradient in zip(parts, inputs, gradients, strict=True):
            part.take_gradient(part_gradient, part_inputs)
        if frozen:
            return gradient
        word_gradients = torch.empty_like(vectors)
        for part, part_gradient, part_found in zip(
            parts, gradients, word_gradients.split(sizes), strict=True
        ):
            torch.mm(part_gradient, part.weight, out=part_found)
        return _gradient_of_rows(rows, words, word_gradients)

    return torch.from_numpy(best), backward


def _shared_words(
    kernels: ModuleType, layer: TrainedLinear, window_ids: Tensor, num_words: int
) -> tuple[list[TrainedLinear], Tensor, list[int], Any]:
    """What to multiply for windows (W, k): the weights of each position, the words to multiply
    by them, one position's after another's (P,), how many each has, and the places among these
    of each window's words (W, k), -1 for padding.

    Where few words are shared: the whole weights and each window's words (W * k,), as if each
    window were a word of its own at the one position that there is.
    """
    words, sizes, places = kernels.number_by_position(window_ids.numpy(), num_words)
    if len(words) <= LARGEST_SHARE * window_ids.numel():
        return layer.split(len(sizes)), torch.from_numpy(words), sizes.tolist(), places
    numbers = np.arange(len(window_ids), dtype=np.int32)[:, None]
    return [layer], window_ids.reshape(-1).long(), [len(window_ids)], numbers


def _train_by_windows(
    layer: TrainedLinear,
    rows: Tensor,
    window_ids: Tensor,
    titles: Tensor,
    num_titles: int,
    frozen: bool,
) -> tuple[Tensor, Backward]:
    vectors = gather_windows(rows, window_ids)
    answers = layer.product(vectors)
    best = max_over_windows(answers, titles, num_titles)

    def backward(gradient: Tensor) -> Tensor:
        # Zeros and ones in place: comparisons that make a bool tensor are not vectorised.
        hits = best.index_select(0, titles).eq_(answers)
        shares = torch.zeros_like(best).index_add_(0, titles, hits)
        hits.mul_((gradient / shares).index_select(0, titles))
        layer.take_gradient(hits, vectors)
        return gradient if frozen else _gradient_of_rows(rows, window_ids, hits @ layer.weight)

    return best, backward


def windows(token_ids: Tensor, offsets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The ids in each window of ``length`` positions (W, length), and its title (W,).

    Every title must have at least ``length`` positions. A window that ends in padding (id 0)
    is left out, unless it is the first of its title. On a GPU such windows stay, as the first
    window once more, so that no size has to be waited for; on a CPU the first window of all may
    be repeated at the end.
    """
    num_titles = len(offsets) - 1
    num_windows = len(token_ids) - num_titles * (length - 1)
    titles = torch.repeat_interleave(
        offsets[1:] - offsets[:-1] - (length - 1), output_size=num_windows
    )
    starts = torch.arange(num_windows, device=offsets.device) + (length - 1) * titles
    first = offsets.index_select(0, titles)
    padded = token_ids.index_select(0, starts + (length - 1)) == 0
    if token_ids.device.type == "cpu":
        kept = torch.nonzero(~padded | (starts == first)).squeeze(1)
        # oneDNN compiles a kernel for every number of rows it meets, which takes as long as the
        # product itself: so the number is rounded up. A window seen twice changes no maximum.
        kept = torch.cat([kept, kept[:1].expand(-len(kept) % ROWS_MULTIPLE)])
        starts, titles = starts.index_select(0, kept), titles.index_select(0, kept)
    else:
        starts = torch.where(padded, first, starts)
    return token_ids.unfold(0, length, 1).index_select(0, starts), titles


def train_windows(token_ids: Tensor, offsets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """As ``windows``."""
    if kernels := kernels_for(token_ids):
        arrays = kernels.windows(token_ids.numpy(), offsets.numpy(), length, ROWS_MULTIPLE)
        return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
    return windows(token_ids, offsets, length)


def gather_windows(rows: Tensor, window_ids: Tensor) -> Tensor:
    """The ``rows`` (U, E) of each window (W, k) side by side: (W, k * E)."""
    return rows.index_select(0, window_ids.reshape(-1)).view(len(window_ids), -1)


def _gradient_of_rows(rows: Tensor, words: Tensor, gradients: Tensor) -> Tensor:
    """The gradient (U, E) of ``rows`` from those of their copies ``words``, of any shape.

    It is summed in float32, as frequent words are in many windows; that of row 0, the padding,
    is zero.
    """
    found = torch.zeros(rows.shape, dtype=torch.float32, device=rows.device)
    flat = words.reshape(-1)
    add_rows(found, flat, gradients.view(len(flat), rows.shape[1]).float())
    found[0] = 0
    return found


def max_over_windows(answers: Tensor, titles: Tensor, num_titles: int) -> Tensor:
    """The maximum (B, F) of ``answers`` (W, F) over the windows of each title."""
    best = answers.new_empty(num_titles, answers.shape[1])
    index = titles[:, None].expand_as(answers)
    return best.scatter_reduce_(0, index, answers, "amax", include_self=False)
