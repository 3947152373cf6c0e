"""Text from elsewhere as data: what a file, a database or a library says, wherever it is shown.

A title, a category, the name of a study or a path may hold anything. A terminal would take an
escape sequence for a command, Markdown a bar for the end of a cell, a spreadsheet an equals sign
for a formula. One function for each place; a shell's is ``shlex.join``.
"""

import html
import re

# They join letters, and direct no terminal.
_JOINERS = frozenset("\u200c\u200d")
_MARKUP = re.compile(r"([\\`*_\[\]|#~])")
# GitHub makes links of bare addresses; written so, they stay text.
_ADDRESS = re.compile(r"(?i)(https?|ftp)://|\bwww\.")
_FORMULA = re.compile(r"[=@\t\r]|[+-](?=\S)")


def for_terminal(text: str) -> str:
    """``text`` on one line, with blanks for control characters, escape sequences' among them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else " " for c in text)


def for_markdown(text: str) -> str:
    """``text`` on one line that Markdown, and HTML within it, takes for nothing but text."""
    escaped = html.escape(" ".join(for_terminal(text).split()), quote=False)
    escaped = _MARKUP.sub(r"\\\1", escaped)
    return _ADDRESS.sub(lambda m: re.sub("[/.]", lambda c: f"&#{ord(c[0])};", m[0]), escaped)


def for_cell(text: str) -> str:
    """``text`` as a spreadsheet's cell: what it would take for a formula gets an apostrophe."""
    if _FORMULA.match(text) and not _is_number(text):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
