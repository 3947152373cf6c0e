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
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from data_utils.cleaning import Cleaning
from data_utils.encoding import Chunk, ChunkEncoder
from data_utils.errors import DataError
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
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def encode(part: Part, block: Block) -> tuple[int, Chunk]:
        worker = idle.get()
        try:
            return worker.number, worker.encode(part.layout, block)
        finally:
            idle.put(worker)

    # One thread for each worker: it feeds the pipe and waits, off the GIL.
    threads = ThreadPoolExecutor(max_workers=processes)
    pending: deque[tuple[Part, Block, Future[tuple[int, Chunk]]]] = deque()
    try:
        for part, block in jobs:
            pending.append((part, block, threads.submit(encode, part, block)))
            if len(pending) > processes + 2:
                yield _first(pending)
        while pending:
            yield _first(pending)
    finally:
        for worker in workers:
            worker.stop()
        threads.shutdown(cancel_futures=True)


def _first(pending: deque[tuple[Part, Block, Future[tuple[int, Chunk]]]]) -> Encoded:
    part, block, future = pending.popleft()
    number, chunk = future.result()
    return part, number, block, chunk


class _Worker:
    """A process with a ``ChunkEncoder`` at the end of a pipe."""

    def __init__(self, number: int, cleaning: Cleaning, hash_rows: bool) -> None:
        self.number = number
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from data_utils.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._settings = (cleaning, hash_rows)

    def encode(self, layout: Layout, block: Block) -> Chunk:
        """Have a block encoded. Raises DataError if the process died."""
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
