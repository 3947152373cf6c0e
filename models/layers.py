"""Parts used by both networks."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

PAD_ID = 0  # row 0 of every embedding: always zeros, never trained


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
        sizes = (in_features, *hidden_sizes)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.output = nn.Linear(sizes[-1], num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        for linear in self.hidden:
            features = self.dropout(torch.relu(linear(features)))
        return self.output(features)


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
