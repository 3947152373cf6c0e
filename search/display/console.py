"""Standard output for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from data_utils.safe_text import for_terminal
from search.display.progress import json_able


class SafeConsole(Console):
    """A console for text from elsewhere, of which nothing is markup or an escape sequence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        # Here passes all that is printed, in tables and out of them.
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                lines = map(for_terminal, text.split("\n"))
                yield segment._replace(text="\n".join(lines))


def console() -> Console:
    """Standard output; as wide as its lines where it is no terminal."""
    return SafeConsole(width=None if sys.stdout.isatty() else 160)


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table with lines on a terminal, and columns alone elsewhere; ``right``: aligned there."""
    made = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD if sys.stdout.isatty() else None,
        padding=(0, 2, 0, 0),
        show_header=any(columns),
        pad_edge=False,
    )
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def print_json(value: Any) -> None:
    """One JSON document; a number that is none is null."""
    print(json.dumps(json_able(value), indent=2, ensure_ascii=False))


def ago(seconds: float | None) -> str:
    """An age for people: ``12 s ago``, ``3 min ago``, ``5 h ago``, ``2 days ago``."""
    if seconds is None:
        return "never"
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
