"""The networks, by name, and their training. PyTorch and NumPy only, and Numba in training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import ModelConfig, TitleClassifier
from models.cnn import CNN, CNNConfig
from models.mlp import MLP, MLPConfig

__all__ = [
    "CNN",
    "MLP",
    "MODELS",
    "CNNConfig",
    "MLPConfig",
    "ModelConfig",
    "TitleClassifier",
    "build_model",
]

#: name -> (config class, model class)
MODELS = {"mlp": (MLPConfig, MLP), "cnn": (CNNConfig, CNN)}


def build_model(
    config: MLPConfig | CNNConfig,
    vectors: NDArray[np.float32] | Tensor | None = None,
    *,
    stem_ids: Tensor | None = None,
    seed: int = 0,
) -> TitleClassifier:
    """The network of ``config``, its weights drawn from ``seed``.

    ``vectors`` (V, E) float32 are the word vectors it starts from; None draws them too.
    Frozen, their memory is used as it is and must not change; otherwise they are copied.
    ``stem_ids`` (V,) int64 are the rows of the words' stems (see ``TitleClassifier``).

    Raises:
        ValueError: the vectors do not fit the config.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, MLPConfig):
            return MLP(config, vectors, stem_ids)
        return CNN(config, vectors, stem_ids)
