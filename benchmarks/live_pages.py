"""optuna-dashboard as a browser sees it, for ``benchmarks.live_view``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, free_port

# An open page of a large study asks every ten seconds.
_POLL_SECONDS = 2.0


@contextmanager
def dashboard(url: str, *, own_command: bool = False) -> Iterator[str]:
    """A fresh ``studies.py dashboard``, or optuna-dashboard; its address, once it listens."""
    port = free_port()
    command = [sys.executable, "studies.py", "dashboard", "--storage", url]
    if own_command:
        command = [str(Path(sys.executable).with_name("optuna-dashboard")), url]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                _get(f"{address}/api/meta")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextmanager
def asked_again_and_again(ask: Callable[[], Any]) -> Iterator[None]:
    """While it lasts, another thread asks."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(_POLL_SECONDS):
            ask()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def page(address: str, study_id: int, after: int) -> str:
    """Where the dashboard's page asks for a study's trials, from a number on."""
    return f"{address}/api/studies/{study_id}?after={after}"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read()


def time_get(url: str) -> float:
    """Seconds to the last byte of a JSON answer."""
    started = time.perf_counter()
    json.loads(_get(url))
    return time.perf_counter() - started
