"""Parts used by both networks."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dropout import DropoutMasks, relu_dropout, relu_dropout_backward
from models.examples import PAD_ID
from models.functions import Backward
from models.weights import DenseWeights


def linear_layer(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer whose weight (out, in) lies in memory as (in, out).

    Products with few rows, whose time is partly that of turning a matrix around, are up to a
    third faster so.
    """
    layer = nn.Linear(in_features, out_features)
    layer.weight.data = layer.weight.data.t().contiguous().t()
    return layer


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
        self.hidden = nn.ModuleList(linear_layer(a, b) for a, b in itertools.pairwise(sizes))
        self.output = linear_layer(sizes[-1], num_classes)
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
