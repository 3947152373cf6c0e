"""Any number of titles to categories: cleaned in one thread while others score."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import torch

from prediction.predictor import BATCH_TITLES, Predictor, Scored

# A batch: what the cores have to wait for at the beginning and at the end is short then.
CHUNK_TITLES = BATCH_TITLES
CHUNK_CHARACTERS = 4_000_000

# Scoring needs the interpreter for a moment between two operations, and gets it only when the
# thread that cleans titles lets go of it: after 5 ms, as Python comes, a core would stand still.
_SWITCH_SECONDS = 0.0002

Chunk = tuple[list[str], Scored]
"""Some titles and what was predicted of them."""


def predict_stream(
    predictor: Predictor, titles: Iterable[str], *, top: int = 1
) -> Iterator[Chunk]:
    """What is predicted of ``titles``, chunk after chunk in their order; few are held at once.

    Sets PyTorch to one thread for an operation: whole batches on several threads share the cores
    better, and the figures do not depend on the number of cores.
    """
    torch.set_num_threads(1)
    workers = _cores()
    pending: deque[tuple[list[str], Future[Scored]]] = deque()
    with (
        _quick_switches(),
        ThreadPoolExecutor(workers) as pool,
        closing(_chunks(titles)) as chunks,
    ):
        try:
            for chunk in chunks:
                token_ids, offsets = predictor.encode(chunk)
                pending.append((chunk, pool.submit(predictor.score, token_ids, offsets, top=top)))
                if len(pending) > workers:
                    yield _first(pending)
            while pending:
                yield _first(pending)
        finally:
            for _, future in pending:
                future.cancel()


@contextmanager
def _quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _first(pending: deque[tuple[list[str], Future[Scored]]]) -> Chunk:
    chunk, future = pending.popleft()
    return chunk, future.result()


def _chunks(titles: Iterable[str]) -> Generator[list[str], None, None]:
    chunk: list[str] = []
    characters = 0
    for title in titles:
        chunk.append(title)
        characters += len(title)
        if len(chunk) == CHUNK_TITLES or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux alone knows what this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
