"""Whether anything answers at MLflow's address."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from search.tracking import probe


@contextmanager
def server(says: bytes | None) -> Iterator[int]:
    """The port of one that answers every request with these bytes, hangs up, or (None) waits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(says or b"")

        if says is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "404 Not Found", "503 Busy"])
def test_any_answer_is_one(status: str) -> None:
    with server(f"HTTP/1.0 {status}\r\n\r\n".encode()) as port:
        probe.check_answers(f"http://user:secret@127.0.0.1:{port}/prefix")


def test_what_is_no_http_is_left_to_mlflow() -> None:
    with server(b"SSH-2.0-OpenSSH\r\n") as port:
        probe.check_answers(f"http://127.0.0.1:{port}")
        probe.check_answers(f"https://127.0.0.1:{port}")


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            probe.check_answers(f"http://127.0.0.1:{bound.getsockname()[1]}")


def test_one_that_hangs_up_is_away() -> None:
    with server(b"") as port, pytest.raises(OSError, match="closed connection"):
        probe.check_answers(f"http://127.0.0.1:{port}")


def test_one_that_never_answers_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_SECONDS", 0.2)
    with server(None) as port:
        with pytest.raises(OSError, match="timed out"):
            probe.check_answers(f"http://127.0.0.1:{port}")
        probe.check_answers(f"postgresql+psycopg://user@127.0.0.1:{port}/mlflow")


def test_files_and_profiles_need_no_answer() -> None:
    probe.check_answers("sqlite:////nowhere/mlflow.db")
    probe.check_answers("databricks://profile")
