"""What the commands of this folder share: their options, and where their figures go."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import machine, markdown_table, write_json


def options(doc: str | None, *, quick: str) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark; ``quick`` says what is left of it then."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--markdown", type=Path, help="where to write the tables")
    parser.add_argument("--quick", action="store_true", help=f"under two minutes: {quick}")
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="folder of prepared data and recordings"
    )
    return parser


class Report:
    """Tables and figures, printed when they are there and written once all are."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {"machine": machine()}
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Print a paragraph and keep it for the Markdown file."""
        self._texts.append(text)
        print(f"\n{text}", flush=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table under its title and keep both."""
        self.add(f"**{title}**\n\n{markdown_table(header, rows)}")

    def write(self, arguments: argparse.Namespace) -> None:
        """Write what ``--json`` and ``--markdown`` ask for."""
        if arguments.json:
            write_json(arguments.json, self.content)
        if arguments.markdown:
            arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
            arguments.markdown.write_text("\n\n".join(self._texts) + "\n", encoding="utf-8")


def verdict(target: str, holds: bool, found: str) -> str:
    """One line that says whether a target is met."""
    return f"{'holds' if holds else 'FALLS SHORT'}: {target}; found {found}"


def shared_data() -> dict[str, Path]:
    """Name -> file of the real titles beside the repository; empty where there are none."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    return {path.name.split(".")[0]: path for path in sorted(folder.glob("*_titles.csv.gz"))}
