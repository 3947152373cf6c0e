"""The dense weights of a network in training: flat in memory, updated by one fused AdamW."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class TrainedLinear:
    """A linear layer as a training step sees it: its values, and where its gradients go."""

    weight: Tensor  # (out, in)
    bias: Tensor  # (out,)
    weight_gradient: Tensor
    bias_gradient: Tensor

    def product(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        """(B, in) -> (B, out), without the bias; in the memory of ``out`` if that is given."""
        return torch.mm(inputs, self.weight.t(), out=out)

    def split(self, num_parts: int) -> list[TrainedLinear]:
        """The layers, of equal widths and one bias, that share its inputs between them."""
        weights = self.weight.chunk(num_parts, dim=1)
        gradients = self.weight_gradient.chunk(num_parts, dim=1)
        return [
            replace(self, weight=weight, weight_gradient=gradient)
            for weight, gradient in zip(weights, gradients, strict=True)
        ]

    def take_gradient(self, gradient: Tensor, inputs: Tensor) -> None:
        """Keep the gradient of the weight that follows from that of the output (B, out)."""
        torch.mm(gradient.t(), inputs, out=self.weight_gradient)


class DenseWeights:
    """All linear layers of a model, their values and gradients each one flat tensor.

    The model's parameters become views of the flat float32 values, so that the optimizer is
    one fused call (AdamW, Loshchilov & Hutter 2019; decay on every weight and bias), and the
    copies that matrix products read in ``dtype`` are refreshed by one more. The gradients, in
    ``dtype`` too, are overwritten by every step, never added to: nothing has to be zeroed.
    Weights lie in memory as in ``models.layers.linear_layer``.
    """

    def __init__(self, model: nn.Module, *, dtype: torch.dtype, weight_decay: float) -> None:
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
        self.dtype, self.weight_decay = dtype, weight_decay
        self._values = torch.cat([p.detach().t().reshape(-1) for p in parameters])
        self._values_read = self._values.to(dtype)  # the same tensor if dtype is float32
        self._gradients = torch.zeros_like(self._values)
        self._gradients_written = self._gradients.to(dtype)
        self._moments = torch.zeros_like(self._values), torch.zeros_like(self._values)
        self._step_count = torch.zeros((), device=self._values.device)
        self._layers: dict[nn.Module, TrainedLinear] = {}
        start = 0
        for layer in layers:
            views = []
            for parameter in (layer.weight, layer.bias):
                part = slice(start, start := start + parameter.numel())
                shape = parameter.t().shape
                flat = self._values[part], self._values_read[part], self._gradients_written[part]
                parameter.data, *others = (values.view(shape).t() for values in flat)
                views.append(others)
            (weight, weight_gradient), (bias, bias_gradient) = views
            self._layers[layer] = TrainedLinear(weight, bias, weight_gradient, bias_gradient)

    def of(self, layer: nn.Module) -> TrainedLinear:
        """The views of one layer."""
        return self._layers[layer]

    def step(self, learning_rate: float) -> None:
        """Update all weights with the gradients of the backward pass just done."""
        if self._gradients_written is not self._gradients:
            self._gradients.copy_(self._gradients_written)
        self._step_count += 1
        # What torch.optim.AdamW(fused=True) calls, without its 80 microseconds per step.
        torch._fused_adamw_(
            [self._values],
            [self._gradients],
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._step_count],
            lr=learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
        self.refresh()

    def refresh(self) -> None:
        """Make the copies that matrix products read equal to the values."""
        if self._values_read is not self._values:
            self._values_read.copy_(self._values)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step; the values belong to the model."""
        return {
            "first_moments": self._moments[0],
            "second_moments": self._moments[1],
            "step_count": self._step_count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a ``state_dict()``; the model's weights must have been loaded before."""
        self._moments[0].copy_(state["first_moments"])
        self._moments[1].copy_(state["second_moments"])
        self._step_count.copy_(state["step_count"])
        self.refresh()
