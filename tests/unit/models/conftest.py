from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from models import MODELS, CNNConfig, MLPConfig, TitleClassifier, build_model
from models.examples import Examples

NUM_CLASSES, VOCABULARY, DIM = 5, 152, 16


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def leave_out_kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it has what stands in for the compiled loops on a GPU take their place."""

    def leave_out() -> None:
        for module in ("dropout", "examples", "filters", "functions", "optimizer"):
            monkeypatch.setattr(f"models.{module}.kernels_for", lambda tensor: None)

    return leave_out


@pytest.fixture(params=["compiled", "PyTorch"])
def loops(request: pytest.FixtureRequest, leave_out_kernels: Callable[[], None]) -> str:
    """Run a test with the compiled loops, and without them."""
    if request.param == "PyTorch":
        leave_out_kernels()
    return request.param


@pytest.fixture
def examples() -> Callable[..., Examples]:
    """Separable titles of 0 to 6 tokens: class c uses the words from 2 + 30 c on."""

    def make(num_titles: int, *, seed: int = 0, pooled_by: torch.Tensor | None = None) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, NUM_CLASSES, (num_titles,), generator=generator)
        lengths = torch.randint(0, 7, (num_titles,), generator=generator)
        offsets = torch.zeros(num_titles + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=offsets[1:])
        classes = labels.repeat_interleave(lengths)
        words = torch.randint(0, 30, classes.shape, generator=generator)
        token_ids = (2 + 30 * classes + words).int()
        pooled = None
        if pooled_by is not None:
            pooled = torch.nn.functional.embedding_bag(
                token_ids, pooled_by, offsets.int(), mode="mean", include_last_offset=True
            )
        return Examples(token_ids, offsets, labels, pooled)

    return make


@pytest.fixture(params=[*sorted(MODELS), "mlp sqrtn"])
def config(request: pytest.FixtureRequest) -> MLPConfig | CNNConfig:
    """A small config of each model, its embeddings trained, and of the MLP's other pooling."""
    name, *pooling = request.param.split()
    config_class, _ = MODELS[name]
    changes = {"pooling": pooling[0]} if pooling else {}
    return config_class(
        VOCABULARY, DIM, NUM_CLASSES, hidden_sizes=(24, 12), dropout=0.3, **changes
    )


@pytest.fixture
def model(config: MLPConfig | CNNConfig) -> TitleClassifier:
    return build_model(config, seed=1)
