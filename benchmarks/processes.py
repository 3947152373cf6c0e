"""Run a command: its wall time, its lines as they come, the memory of its process tree, a port."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Ran:
    """What a command did.

    Attributes:
        seconds: From its start to its end.
        peak_bytes: The most memory of the process and its descendants together, shared pages
            counted once (PSS); 0 if nobody looked.
        memory: Seconds since the start, and that memory, whenever somebody looked.
        lines: Seconds since the start and text of each line of its standard output.
        errors: The same of its standard error.
    """

    seconds: float = 0.0
    memory: list[tuple[float, int]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        return max((size for _, size in self.memory), default=0)


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stop_at: Callable[[str], bool] = lambda line: False,
    memory_every: float | None = None,
) -> Ran:
    """Run ``command`` at the root of the project; it is ended after a line of ``stop_at``.

    Its memory is looked at once in ``memory_every`` seconds, which stops each of its processes
    for some 10 ms: often where memory is the question, seldom or never where time is.

    Raises:
        RuntimeError: Its exit status says that it failed, with the end of what it said.
    """
    ran = Ran()
    stopped = False
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        threads = [threading.Thread(target=_read, args=(process, ran, started))]
        if memory_every is not None:
            watch = threading.Thread(target=_watch, args=(process, ran, started, memory_every))
            threads.append(watch)
        for thread in threads:
            thread.start()
        assert process.stdout is not None
        for line in process.stdout:
            ran.lines.append((time.perf_counter() - started, line.rstrip("\n")))
            if not stopped and stop_at(line):
                stopped = True
                process.terminate()
        status = process.wait()
        ran.seconds = time.perf_counter() - started
        for thread in threads:
            thread.join()
    if status and not stopped:
        said = "\n".join(line for _, line in ran.errors)
        raise RuntimeError(f"{' '.join(command)} ended with {status}: {said[-2000:]}")
    return ran


def _read(process: subprocess.Popen[str], ran: Ran, started: float) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        ran.errors.append((time.perf_counter() - started, line.rstrip("\n")))


def _watch(process: subprocess.Popen[str], ran: Ran, started: float, every: float) -> None:
    while process.poll() is None:
        found = sum(map(_pss_bytes, _tree(process.pid)))
        ran.memory.append((time.perf_counter() - started, found))
        with suppress(subprocess.TimeoutExpired):
            process.wait(every)


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        found.append(parent := waiting.pop())
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:  # ended in the meantime
                continue
    return found


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
