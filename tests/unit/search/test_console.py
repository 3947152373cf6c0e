"""Standard output for people: names and paths are text there, and nothing else."""

from __future__ import annotations

import io

from rich.table import Table
from rich.text import Text

from search.display.console import SafeConsole, table
from search.display.progress import PlainProgress, Progress


def shown(*renderables, **options) -> str:
    stream = io.StringIO()
    console = SafeConsole(file=stream, width=60, **options)
    for renderable in renderables:
        console.print(renderable)
    return stream.getvalue()


def test_nothing_in_a_name_is_markup():
    assert "m/[/b]/a[red].csv :smile:" in shown("m/[/b]/a[red].csv :smile:")
    rows = table("[/x] title", "[bold]column")
    rows.add_row("[/y]")
    text = shown(rows)
    assert "[/x] title" in text and "[bold]column" in text and "[/y]" in text


def test_no_escape_sequence_of_a_name_reaches_the_terminal():
    name = "a\x1b[31mb\x1b]0;t\x07\x9b5mc"
    rows = Table(title=name)
    rows.add_column(name)
    rows.add_row(Text(name, style="red"))
    text = shown(name, Text(name), rows)
    assert not set(text) & {"\x1b", "\x07", "\x9b"}
    assert "[31mb" in text


def test_styles_of_our_own_reach_the_terminal():
    text = shown(Text("a\x1bb", style="red"), force_terminal=True, color_system="standard")
    assert text == "\x1b[31ma b\x1b[0m\n"


def test_lines_of_a_search_are_one_line_each():
    for kind in (Progress, PlainProgress):
        stream = io.StringIO()
        kind(stream).message("study a\x1b[2Jb\nc")
        assert "study a [2Jb c\n" in stream.getvalue()
        assert "\x1b" not in stream.getvalue()
