"""Forward and backward passes written out where autograd's own cost too much.

All compute in the type they are given (bfloat16 or float32) and give float32 gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class TrainedStack(torch.autograd.Function):
    """Linear layers with ReLU and dropout between them, as one node of the graph.

    What it saves is the traffic around the matrix products: ReLU and dropout work in place,
    and share one backward step (what is above zero after both was kept by both).
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, masks: list[Tensor], scale: float, *parameters: Tensor
    ) -> Tensor:
        """Logits (B, K); ``masks`` hold 0 or ``scale``, one (B, H) per hidden layer, or none."""
        values = [parameter.to(features.dtype) for parameter in parameters]
        weights, biases = values[::2], values[1::2]
        inputs = [features]
        for layer in range(len(weights) - 1):
            outputs = torch.addmm(biases[layer], inputs[-1], weights[layer].t()).relu_()
            if masks:
                outputs.mul_(masks[layer])
            inputs.append(outputs)
        ctx.inputs, ctx.weights, ctx.scale = inputs, weights, scale
        return torch.addmm(biases[-1], inputs[-1], weights[-1].t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of the features (if wanted) and of the parameters."""
        gradients: list[Tensor] = []
        for layer in range(len(ctx.weights) - 1, -1, -1):
            gradients += [gradient.sum(0), gradient.t() @ ctx.inputs[layer]]
            if layer > 0 or ctx.needs_input_grad[0]:
                gradient = gradient @ ctx.weights[layer]
            if layer > 0:
                gradient = torch.ops.aten.threshold_backward(gradient, ctx.inputs[layer], 0)
                if ctx.scale != 1:
                    gradient.mul_(ctx.scale)
        first = gradient if ctx.needs_input_grad[0] else None
        return (first, None, None, *reversed(gradients))


class GatherWindows(torch.autograd.Function):
    """The vectors of each window side by side; the gradient is summed in float32."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, dtype: torch.dtype, *window_ids: Tensor) -> Any:
        """``rows`` (U, E) and, per filter length, ids (W, k) -> (W, k * E) in ``dtype``."""
        ctx.save_for_backward(*window_ids)
        ctx.shape = rows.shape
        rows = rows.to(dtype)
        return tuple(
            rows.index_select(0, ids.reshape(-1)).view(len(ids), -1) for ids in window_ids
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Row 0 is the padding: its gradient is zero."""
        rows = torch.zeros(ctx.shape, dtype=torch.float32, device=gradients[0].device)
        for ids, gradient in zip(ctx.saved_tensors, gradients, strict=True):
            rows.index_add_(0, ids.reshape(-1), gradient.reshape(ids.numel(), -1).float())
        rows[0] = 0
        return rows, None, *[None for _ in gradients]


class MaxOverWindows(torch.autograd.Function):
    """The maximum over the windows of each title; ties share the gradient."""

    @staticmethod
    def forward(ctx: Any, answers: Tensor, titles: Tensor, num_titles: int) -> Tensor:
        """``answers`` (W, F), ``titles`` (W,) of each window -> (B, F)."""
        best = answers.new_empty(num_titles, answers.shape[1])
        index = titles[:, None].expand_as(answers)
        best.scatter_reduce_(0, index, answers, "amax", include_self=False)
        ctx.save_for_backward(answers, titles, best)
        return best

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradient of each maximum, to the windows that reach it."""
        answers, titles, best = ctx.saved_tensors
        # (answer - best == 0) as 0 or 1 in place: comparisons to bool are not vectorised.
        hits = best.index_select(0, titles).eq_(answers)
        shares = torch.zeros_like(best).index_add_(0, titles, hits)
        return hits.mul_((gradient / shares).index_select(0, titles)), None, None
