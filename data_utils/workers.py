"""Encoding the blocks of a source, in this process or over several.

The processes are new interpreters that run ``serve`` and talk through pipes. They share nothing
with this one: no fork of its threads, and no second import of the user's main module.
They end when their pipe closes, also if this process is killed.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any

from data_utils.cleaning import Cleaning
from data_utils.encoding import Chunk, ChunkEncoder
from data_utils.errors import DataError
from data_utils.interpreter import start_python
from data_utils.records import Block, Layout
from data_utils.sources import Part

_BLOCKS_IN_PROCESS = 3  # fewer rows than these hold are done before processes have started

Encoded = tuple[Part, int, Block, Chunk]
"""A part, the number of the encoder that did it, the block and its arrays."""


def encode_blocks(
    jobs: Iterator[tuple[Part, Block]], cleaning: Cleaning, *, hash_rows: bool, processes: int
) -> Generator[Encoded, None, None]:
    """Encode blocks and return them in their order, over ``processes`` if there are many."""
    first = list(islice(jobs, _BLOCKS_IN_PROCESS + 1))
    jobs = chain(first, jobs)
    if processes > 1 and len(first) > _BLOCKS_IN_PROCESS:
        yield from _encode_in_processes(jobs, cleaning, hash_rows, processes)
        return
    encoder = ChunkEncoder(cleaning, hash_rows=hash_rows)
    for part, block in jobs:
        yield part, 0, block, encoder.encode(part.layout, block)


def _encode_in_processes(
    jobs: Iterator[tuple[Part, Block]], cleaning: Cleaning, hash_rows: bool, processes: int
) -> Generator[Encoded, None, None]:
    workers = [_Worker(number, cleaning, hash_rows) for number in range(processes)]
    # A process does its blocks in the order in which it is given them here: so it numbers tokens
    # by their first appearance. Each has a second block at hand while it does the first.
    free: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers * 2:
        free.put(worker)
    pending: deque[tuple[Part, int, Block, Future[Chunk]]] = deque()
    try:
        for part, block in jobs:
            worker = free.get()
            future = worker.submit(part.layout, block)
            future.add_done_callback(partial(_put_back, free, worker))
            pending.append((part, worker.number, block, future))
            if len(pending) > processes + 2:
                yield _first(pending)
        while pending:
            yield _first(pending)
    finally:
        for worker in workers:
            worker.stop()


def _put_back(free: "SimpleQueue[_Worker]", worker: "_Worker", _: Future[Chunk]) -> None:
    free.put(worker)


def _first(pending: deque[tuple[Part, int, Block, Future[Chunk]]]) -> Encoded:
    part, number, block, future = pending.popleft()
    return part, number, block, future.result()


class _Worker:
    """A process with a ``ChunkEncoder`` at the end of a pipe, and a thread that waits for it."""

    def __init__(self, number: int, cleaning: Cleaning, hash_rows: bool) -> None:
        self.number = number
        self._process = start_python(
            ["-c", "from data_utils.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            environment={"OMP_NUM_THREADS": "1"},
        )
        self._settings = (cleaning, hash_rows)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def submit(self, layout: Layout, block: Block) -> Future[Chunk]:
        """Have a block encoded after those given before; DataError if the process dies."""
        return self._thread.submit(self._encode, layout, block)

    def _encode(self, layout: Layout, block: Block) -> Chunk:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump((self._settings, layout, block), self._process.stdin, protocol=5)
            self._process.stdin.flush()
            answer: Any = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise DataError(
                "a process that cleans titles was killed (out of memory?): "
                "prepare the data again, with fewer processes"
            ) from error
        if isinstance(answer, str):
            raise RuntimeError(f"a process that cleans titles failed:\n{answer}")
        return answer

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._thread.shutdown(cancel_futures=True)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # a block was still being fed to it


def serve() -> None:
    """Encode blocks from standard input until it ends."""
    gc.disable()  # rows make no cycles, and tracing their lists takes a quarter of the time
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing printed may get between the answers
    encoder: ChunkEncoder | None = None
    while True:
        try:
            (cleaning, hash_rows), layout, block = pickle.load(source)
        except EOFError:
            return
        try:
            encoder = encoder or ChunkEncoder(cleaning, hash_rows=hash_rows)
            answer: Chunk | str = encoder.encode(layout, block)
        except Exception:
            answer = traceback.format_exc()
        pickle.dump(answer, answers, protocol=5)
        answers.flush()
