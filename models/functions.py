"""Pieces of forward passes, each returned with its backward pass.

Training here does not go through autograd: a piece gives its output and a function that turns
the gradient of the output into that of the input (the style of Thinc, Honnibal 2020), writing
the gradients of weights where the optimizer wants them. A batch of short titles is so little
work that the graph, its allocations and its casts cost as much as the arithmetic. On a CPU
the loops over rows are ``models.kernels``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.compiled import kernels_for

Backward = Callable[[Tensor], Tensor]
ROWS_MULTIPLE = 16


def add_rows(found: Tensor, ids: Tensor, rows: Tensor) -> None:
    """Add each of ``rows`` (N, E) to the row of ``found`` (U, E) that ``ids`` (N,) names."""
    if kernels := kernels_for(found):
        kernels.add_rows(found.numpy(), ids.numpy(), rows.numpy())
    else:
        found.index_add_(0, ids, rows)


def mean_of_rows(rows: Tensor, token_ids: Tensor, offsets: Tensor) -> Tensor:
    """The mean (B, E) of the ``rows`` (U, E) that each title's ids name; zero for no ids."""
    return torch.nn.functional.embedding_bag(
        token_ids, rows, offsets.to(token_ids.dtype), mode="mean", include_last_offset=True
    )


def train_mean_of_rows(
    rows: Tensor, token_ids: Tensor, offsets: Tensor
) -> tuple[Tensor, Backward]:
    """As ``mean_of_rows``, with its backward pass."""
    if kernels := kernels_for(rows):
        arrays = rows.numpy(), token_ids.numpy(), offsets.numpy()
        means = torch.from_numpy(kernels.take_means(*arrays))
    else:
        means = mean_of_rows(rows, token_ids, offsets)

    def backward(gradient: Tensor) -> Tensor:
        found = torch.zeros_like(rows)
        if kernels := kernels_for(rows):
            arrays = found, token_ids, offsets, gradient.float()
            kernels.spread_means(*(array.numpy() for array in arrays))
            return found
        lengths = offsets[1:] - offsets[:-1]
        titles = torch.repeat_interleave(lengths, output_size=len(token_ids))
        shares = gradient.float() / lengths.clamp(min=1)[:, None]
        return found.index_add_(0, token_ids, shares.index_select(0, titles))

    return means, backward


def sums_of_rows(rows: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Backward]:
    """``rows[first] + rows[second]`` (U, E); row 0, the padding, gets no gradient."""

    def backward(gradient: Tensor) -> Tensor:
        found = torch.zeros_like(rows)
        add_rows(found, first, gradient)
        add_rows(found, second, gradient)
        found[0] = 0
        return found

    return rows.index_select(0, first) + rows.index_select(0, second), backward


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


def gather_windows(rows: Tensor, window_ids: Tensor) -> tuple[Tensor, Backward]:
    """The ``rows`` (U, E) of each window (W, k) side by side: (W, k * E).

    The gradient is summed in float32, as frequent words are in many windows; that of row 0,
    the padding, is zero.
    """
    flat = window_ids.reshape(-1)

    def backward(gradient: Tensor) -> Tensor:
        found = torch.zeros(rows.shape, dtype=torch.float32, device=rows.device)
        add_rows(found, flat, gradient.view(len(flat), -1).float())
        found[0] = 0
        return found

    return rows.index_select(0, flat).view(len(window_ids), -1), backward


def max_over_windows(answers: Tensor, titles: Tensor, num_titles: int) -> Tensor:
    """The maximum (B, F) of ``answers`` (W, F) over the windows of each title."""
    best = answers.new_empty(num_titles, answers.shape[1])
    index = titles[:, None].expand_as(answers)
    return best.scatter_reduce_(0, index, answers, "amax", include_self=False)


def train_max_over_windows(
    answers: Tensor, titles: Tensor, num_titles: int
) -> tuple[Tensor, Backward]:
    """As ``max_over_windows``, with its backward pass.

    The gradient, which may take the memory of ``answers``, goes to the greatest answer of a
    title: to the first of equals, or shared by them. Equals are windows of the same words, for
    whose vectors and filters it makes no difference.
    """
    if kernels := kernels_for(answers):
        best_array, places = kernels.take_maxima(answers.numpy(), titles.numpy(), num_titles)

        def spread(gradient: Tensor) -> Tensor:
            kernels.spread_maxima(answers.numpy(), places, gradient.numpy())
            return answers

        return torch.from_numpy(best_array), spread
    best = max_over_windows(answers, titles, num_titles)

    def share(gradient: Tensor) -> Tensor:
        # Zeros and ones in place: comparisons that make a bool tensor are not vectorised.
        hits = best.index_select(0, titles).eq_(answers)
        shares = torch.zeros_like(best).index_add_(0, titles, hits)
        return hits.mul_((gradient / shares).index_select(0, titles))

    return best, share


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None,
    label_smoothing: float,
    log_shares: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum of the losses of a batch, and its gradient (B, K) in the type of ``logits``.

    As ``torch.nn.functional.cross_entropy`` with ``reduction="sum"``, of the logits plus
    ``log_shares`` (K,).
    """
    scores = logits.float() if log_shares is None else logits.float() + log_shares
    if label_smoothing == 0 and (kernels := kernels_for(logits)):
        gradient = torch.softmax(scores, 1)
        weights = scores.new_ones(scores.shape[1]) if class_weights is None else class_weights
        arrays = gradient, scores, labels, weights
        return torch.tensor(kernels.picked_losses(*(array.numpy() for array in arrays))), gradient
    log_probabilities = torch.log_softmax(scores, 1)
    gradient = torch.exp(log_probabilities)
    picked = labels[:, None]
    if class_weights is None and label_smoothing == 0:
        loss = -log_probabilities.gather(1, picked).sum()
        gradient.scatter_add_(1, picked, gradient.new_full((1, 1), -1.0).expand_as(picked))
        return loss, gradient.to(logits.dtype)
    targets = torch.full_like(scores, label_smoothing / scores.shape[1])
    targets.scatter_add_(
        1, picked, targets.new_full((1, 1), 1 - label_smoothing).expand_as(picked)
    )
    if class_weights is not None:
        targets *= class_weights
    loss = -(targets * log_probabilities).sum()
    gradient *= targets.sum(1, keepdim=True)
    return loss, gradient.sub_(targets).to(logits.dtype)
