"""What a trained network costs who uses it: the room it takes, and the time for a title."""

from __future__ import annotations

import copy
import time
from statistics import median

import torch

from models.base import TitleClassifier
from models.examples import Examples

_TITLES, _ROUNDS = 100, 10
_EMBEDDING = "embedding"


def size_mb(model: TitleClassifier) -> float:
    """Megabytes (10^6 bytes) of the weights as they are exported: one vector a word, and all
    dense weights. Known before the training."""
    tensors = {**model.state_dict(), _EMBEDDING: model.embedding}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / 1e6


@torch.inference_mode()
def latency_ms(model: TitleClassifier, titles: Examples) -> float:
    """Milliseconds from the words of one title to its scores, on the CPU with one thread.

    The median over some of ``titles``, each scored alone several times. What else the machine
    does at the time shows in it.
    """
    if model.embedding.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    titles = titles.padded(model.min_length).to("cpu")
    stride = -(-len(titles) // _TITLES)
    batches = [titles.slice(index, index + 1) for index in range(0, len(titles), stride)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for count in range(1 + _ROUNDS):
            for batch in batches:
                started = time.perf_counter()
                model(batch.token_ids, batch.offsets)
                if count:  # the first round only warms up
                    seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 1000 * median(seconds)
