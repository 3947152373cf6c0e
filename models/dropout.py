"""Dropout, alone and fused with the bias and the ReLU before it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.compiled import kernels_for


class RandomBytes:
    """A stream of random bytes, on a CPU from NumPy's SFC64: twice as fast as PyTorch's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._on_host: np.random.SFC64 | None = None
        self._on_device: torch.Generator | None = None

    def draw(self, count: int, device: torch.device) -> Tensor:
        """``count`` uint8 on ``device``."""
        if device.type == "cpu":
            return torch.from_numpy(self.draw_on_host(count))
        if self._on_device is None:
            self._on_device = torch.Generator(device).manual_seed(self._seed)
        words = torch.empty((count + 7) // 8, dtype=torch.int64, device=device)
        words.random_(-(2**63), None, generator=self._on_device)
        return words.view(torch.uint8)[:count]

    def draw_on_host(self, count: int) -> NDArray[np.uint8]:
        """``count`` bytes on the CPU."""
        if self._on_host is None:
            self._on_host = np.random.SFC64(self._seed)
        words: NDArray[np.uint64] = self._on_host.random_raw((count + 7) // 8)
        return words.view(np.uint8)[:count]


class DropoutMasks:
    """Random masks for a whole stack at once, at a tenth of the cost of ``nn.Dropout``.

    PyTorch draws one random number per element and on one thread. One random byte per element
    is enough: it is kept if the byte is below ``round(256 * (1 - p))``, so p is taken to the
    nearest 1/256, and the scale is the inverse of the probability so taken. The masks come from
    a generator of their own: other users of PyTorch's random numbers change nothing.
    """

    def __init__(self, probability: float) -> None:
        self.kept_of_256 = round(256 * (1 - probability))
        self.scale = 256 / self.kept_of_256
        self._bytes = RandomBytes(0)

    def seed(self, seed: int) -> None:
        """Define all masks to come."""
        self._bytes = RandomBytes(seed)

    def draw(self, like: Tensor, widths: Sequence[int]) -> list[Mask]:
        """A mask for each of the widths, of arrays (B, width) with B and type as in ``like``."""
        if self.kept_of_256 == 256 or not widths:
            return [NO_MASK] * len(widths)
        sizes = [len(like) * width for width in widths]
        ends = list(itertools.accumulate(sizes))
        parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        shape = len(like), -1
        scalars = self.kept_of_256, self.scale
        if kernels_for(like):
            random = self._bytes.draw_on_host(ends[-1])
            return [Mask(*scalars, random=random[part].reshape(shape)) for part in parts]
        # In place on bytes, as comparisons that make a new bool tensor are not vectorised.
        kept = self._bytes.draw(ends[-1], like.device).lt_(self.kept_of_256)
        factors = kept.to(like.dtype).mul_(self.scale)
        return [Mask(*scalars, factors=factors[part].view(shape)) for part in parts]


class Mask(NamedTuple):
    """Dropout of an array (B, F): which elements are kept, and the ``scale`` of those.

    The compiled loops take ``random`` bytes (B, F), of which those below ``kept_of_256`` keep
    their element; PyTorch's functions ``factors`` (B, F), zero or ``scale``, in the type of the
    array. With neither, all is kept as it is.
    """

    kept_of_256: int
    scale: float
    random: NDArray[np.uint8] | None = None
    factors: Tensor | None = None

    def multiply(self, values: Tensor) -> Tensor:
        """Apply it to ``values`` in place."""
        if self.random is not None and (kernels := kernels_for(values)):
            kernels.drop(values.numpy(), self.random, self.kept_of_256, self.scale)
        elif self.factors is not None:
            values.mul_(self.factors)
        return values


NO_MASK = Mask(256, 1.0)


def relu_dropout(outputs: Tensor, bias: Tensor, mask: Mask) -> Tensor:
    """``dropout(relu(outputs + bias))`` in place: (B, F)."""
    if mask.random is None or not (kernels := kernels_for(outputs)):
        return mask.multiply(outputs.add_(bias).relu_())
    kernels.relu_dropout(outputs.numpy(), bias.numpy(), mask.random, mask.kept_of_256, mask.scale)
    return outputs


def relu_dropout_backward(
    gradient: Tensor, outputs: Tensor, mask: Mask, bias_gradient: Tensor
) -> None:
    """Turn the ``gradient`` of what ``relu_dropout`` gave, ``outputs``, into that of what it
    took, in place: what is above zero was kept. Writes the gradient (F,) of the bias too."""
    if kernels := kernels_for(gradient):
        arrays = gradient.numpy(), outputs.numpy(), bias_gradient.numpy()
        kernels.relu_dropout_backward(*arrays, mask.scale)
        return
    torch.ops.aten.threshold_backward.grad_input(gradient, outputs, 0, grad_input=gradient)
    torch.sum(gradient.mul_(mask.scale), 0, out=bias_gradient)
