"""The command `predict`: titles from somewhere, lines of predictions to somewhere."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from data_utils.errors import DataError
from data_utils.title_streams import Oddities, read_titles

PROGRESS_SECONDS = 5.0  # between two lines
CLOSED_PIPE = 141  # what a shell shows for a program that nobody reads any more


@dataclass(frozen=True)
class PredictOptions:
    """``source`` is a file, "-" for standard input, or None for that or ``titles``."""

    model: Path
    titles: tuple[str, ...]
    source: str | None
    text_column: str | None
    form: str
    top: int
    to: Path | None


def run_predict(options: PredictOptions) -> int:
    """Predict all titles; the exit status.

    Raises:
        DataError: Model or titles cannot be read, or the output not be written.
    """
    _check(options)
    oddities = Oddities()
    titles = _titles(options, oddities)
    # Imported here: a mistake in the options is answered at once, without torch.
    from prediction.lines import header, lines
    from prediction.predictor import open_predictor
    from prediction.stream import predict_stream

    predictor = open_predictor(options.model)
    top = min(options.top, len(predictor.labels))
    try:
        with _output(options.to) as out:
            before = header(options.form, top=top)
            progress = _Progress(shown=options.to is not None)
            for chunk, scored in predict_stream(predictor, titles, top=top):
                out.write(before + lines(chunk, scored, predictor.labels, options.form))
                before = ""
                progress.add(len(chunk))
            out.write(before)  # titles that cannot be read get no header either
            out.flush()
    except BrokenPipeError:
        # Python would fail once more when it closes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        raise DataError(f"standard output cannot be written ({error.strerror})") from error
    if str(oddities):
        print(f"note: among the titles: {oddities}", file=sys.stderr)
    return 0


class _Progress:
    """Says on standard error how far it is, where the predictions themselves do not show it."""

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._count, self._said_at = shown, 0, time.monotonic()

    def add(self, count: int) -> None:
        self._count += count
        if self._shown and time.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = time.monotonic()
            print(f"{self._count:,} titles so far", file=sys.stderr)


def _check(options: PredictOptions) -> None:
    if options.top < 1:
        raise DataError(f"--top is {options.top}: give 1 or more")
    if options.titles and options.source is not None:
        raise DataError("titles are given and --input too: give one of them")
    if not options.titles and options.source is None and sys.stdin.isatty():
        raise DataError("no titles: give some, --input FILE, or pipe them to standard input")


def _titles(options: PredictOptions, oddities: Oddities) -> Iterator[str]:
    if options.titles:
        return map(_decoded, options.titles)
    path = None if options.source in (None, "-") else Path(str(options.source))
    return read_titles(path, column=options.text_column, oddities=oddities)


def _decoded(argument: str) -> str:
    """An argument as the shell gave it, with a sign for bytes that are not UTF-8."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name when it is complete."""
    if path is None:
        # What stands in another file has no say in the encoding or line ends of this one.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")
        yield sys.stdout
        return
    partial = None
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): give another --to"
        ) from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
