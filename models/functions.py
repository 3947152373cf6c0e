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
