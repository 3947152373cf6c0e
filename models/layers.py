"""Parts used by both networks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.functions import TrainedStack

PAD_ID = 0  # row 0 of every embedding: always zeros, never trained


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
        self._seed = 0
        self._generator: torch.Generator | None = None

    def seed(self, seed: int) -> None:
        """Define all masks to come."""
        self._seed, self._generator = seed, None

    def draw(self, like: Tensor, widths: Sequence[int]) -> list[Tensor]:
        """Masks (B, width) of zeros and ``scale``, B and type as in ``like``; none for p = 0."""
        if self.kept_of_256 == 256:
            return []
        if self._generator is None:
            self._generator = torch.Generator(like.device).manual_seed(self._seed)
        sizes = [len(like) * width for width in widths]
        words = torch.empty((sum(sizes) + 7) // 8, dtype=torch.int64, device=like.device)
        words.random_(-(2**63), None, generator=self._generator)
        # In place on bytes, as comparisons that make a new bool tensor are not vectorised.
        kept = words.view(torch.uint8).lt_(self.kept_of_256)
        masks = kept.to(like.dtype).mul_(self.scale)[: sum(sizes)].split(sizes)
        return [mask.view(len(like), -1) for mask in masks]


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
        """Logits (B, K); in training computed in the type of ``features``, else in float32."""
        if self.training:
            masks = self.masks.draw(features, self.hidden_sizes)
            return TrainedStack.apply(features, masks, self.masks.scale, *self.parameters())
        for linear in self.hidden:
            features = torch.relu(linear(features))
        return self.output(features)


def unique_words(token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The different words among ``token_ids`` (T,), and each token's position among them.

    The padding is always the first word. On a GPU the number of words is not waited for: the
    list has T + 1 entries, the unused ones at its end being the padding again.
    """
    padded = torch.cat([token_ids.new_full((1,), PAD_ID), token_ids])
    if token_ids.device.type == "cpu":
        words, positions = torch.unique(padded, return_inverse=True)
        return words.long(), positions[1:]
    return _unique_words_of_fixed_size(padded)


def _unique_words_of_fixed_size(padded: Tensor) -> tuple[Tensor, Tensor]:
    values, order = torch.sort(padded.long())
    groups = torch.zeros_like(values)
    torch.cumsum(values[1:] != values[:-1], 0, out=groups[1:])
    positions = torch.empty_like(order).scatter_(0, order, groups)
    # Entries of one group all write the same value, so their order does not matter.
    words = torch.zeros_like(values).scatter_(0, groups, values)
    return words, positions[1:]


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
