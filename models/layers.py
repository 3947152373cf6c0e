"""Parts used by both networks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.compiled import kernels_for
from models.examples import PAD_ID
from models.functions import NO_MASK, Backward, Mask, relu_dropout, relu_dropout_backward
from models.weights import DenseWeights


class RandomBytes:
    """A stream of random bytes, on a CPU from NumPy's SFC64: twice as fast as PyTorch's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._on_host: np.random.Generator | None = None
        self._on_device: torch.Generator | None = None

    def draw(self, count: int, device: torch.device) -> Tensor:
        """``count`` uint8 or a few more, on ``device``."""
        num_words = (count + 7) // 8
        if device.type == "cpu":
            if self._on_host is None:
                self._on_host = np.random.Generator(np.random.SFC64(self._seed))
            drawn = self._on_host.integers(0, 2**64, size=num_words, dtype=np.uint64)
            return torch.from_numpy(drawn).view(torch.uint8)
        if self._on_device is None:
            self._on_device = torch.Generator(device).manual_seed(self._seed)
        words = torch.empty(num_words, dtype=torch.int64, device=device)
        return words.random_(-(2**63), None, generator=self._on_device).view(torch.uint8)


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
        elements = self._bytes.draw(sum(sizes), like.device)[: sum(sizes)]
        if kernels_for(like) is None:
            # In place on bytes, as comparisons that make a new bool tensor are not vectorised.
            elements = elements.lt_(self.kept_of_256).to(like.dtype).mul_(self.scale)
        return [
            Mask(part.view(len(like), -1), self.kept_of_256, self.scale)
            for part in elements.split(sizes)
        ]


class HiddenStack(nn.Module):
    """``dropout(relu(linear(x)))`` for each size, then a linear layer to the logits.

    Shape: (B, ``in_features``) -> (B, ``num_classes``).
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: tuple[int, ...],
        *,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.hidden_sizes = hidden_sizes
        sizes = (in_features, *hidden_sizes)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.output = nn.Linear(sizes[-1], num_classes)
        self.masks = DropoutMasks(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K), without dropout."""
        for linear in self.hidden:
            features = torch.relu(linear(features))
        return self.output(features)

    def train_forward(
        self, features: Tensor, *, weights: DenseWeights, frozen_input: bool = False
    ) -> tuple[Tensor, Backward]:
        """Logits with dropout, in the type of ``features``, and the backward pass.

        With ``frozen_input`` the gradient of the features is left out.
        """
        masks = self.masks.draw(features, self.hidden_sizes)
        layers = [weights.of(linear) for linear in (*self.hidden, self.output)]
        inputs = [features]
        for layer, mask in zip(layers, masks, strict=False):
            inputs.append(relu_dropout(layer.product(inputs[-1]), layer.bias, mask))

        def backward(gradient: Tensor) -> Tensor:
            torch.sum(gradient, 0, out=layers[-1].bias_gradient)
            for number in range(len(layers) - 1, 0, -1):
                layers[number].take_gradient(gradient, inputs[number])
                gradient = torch.mm(gradient, layers[number].weight)
                relu_dropout_backward(
                    gradient, inputs[number], masks[number - 1], layers[number - 1].bias_gradient
                )
            layers[0].take_gradient(gradient, features)
            return gradient if frozen_input else torch.mm(gradient, layers[0].weight)

        return layers[-1].product(inputs[-1]).add_(layers[-1].bias), backward


def embedding_table(
    vectors: NDArray[np.float32] | Tensor | None,
    *,
    vocabulary_size: int,
    embedding_dim: int,
    copy: bool,
) -> Tensor:
    """The word vectors (V, E) float32 a network starts from.

    Without ``vectors``: normal with deviation 0.1, and zeros for the padding (row 0) and for
    the unknown token (row 1), which training may never see. With ``copy=False`` the memory of
    ``vectors`` is used as it is (it may be a read-only memory map shared by processes).

    Raises:
        ValueError: the shape is not (V, E), or the padding row is not zero.
    """
    if vectors is None:
        table = torch.randn(vocabulary_size, embedding_dim) * 0.1
        table[:2] = 0
        return table
    if isinstance(vectors, np.ndarray):
        with warnings.catch_warnings():
            # A read-only memory map is what we want here: nothing writes to a shared table.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            vectors = torch.from_numpy(vectors)
    if tuple(vectors.shape) != (vocabulary_size, embedding_dim):
        raise ValueError(
            f"word vectors must be {vocabulary_size} x {embedding_dim}, "
            f"but are {' x '.join(map(str, vectors.shape))}"
        )
    if vectors[PAD_ID].any():
        raise ValueError("row 0 of the word vectors (padding) must be zeros")
    return vectors.clone() if copy else vectors
