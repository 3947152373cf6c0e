"""One side of a comparison in a process of its own, whose settings leave the other side alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, Self

Cases = Mapping[str, Callable[[], float]]


class Side:
    """A process that makes ``build(*args, **kwargs)`` and runs these cases when told to."""

    def __init__(self, build: Callable[..., Cases], *args: Any, **kwargs: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, build, args, kwargs), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        self.names: list[str] = self._connection.recv()
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._process.join()

    def case(self, name: str) -> Callable[[], float]:
        """A function that runs a case over there and gives what it returned.

        Raises:
            EOFError: (the function) The process has ended; it has printed why.
        """

        def run() -> float:
            self._connection.send(name)
            return self._connection.recv()

        return run


def _serve(connection: Connection, build: Callable[..., Cases], args: Any, kwargs: Any) -> None:
    cases = build(*args, **kwargs)
    connection.send(list(cases))
    while True:
        try:
            name = connection.recv()
        except EOFError:
            return
        connection.send(cases[name]())
