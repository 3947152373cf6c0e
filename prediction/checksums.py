"""The checksums of a folder, in the form that `sha256sum --check` reads too.

They find what a copy or a disk has damaged. Who can change the files can change the list: they
are no signature.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CHECKSUMS = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_checksums(folder: Path) -> None:
    """List every file of ``folder`` with its SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8", newline="\n")


def find_damage(folder: Path, *, needed: tuple[str, ...]) -> str | None:
    """Say what differs between ``folder`` and its list, or which file is not listed; else None."""
    try:
        lines = (folder / CHECKSUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{CHECKSUMS} is missing or unreadable"
    listed = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return f"{CHECKSUMS} holds a line that is no checksum"
        listed[match[2]] = match[1]
    for name in needed:
        if name not in listed:
            return f"{CHECKSUMS} does not list {name}"
    for name, expected in listed.items():
        try:
            found = _digest(folder / name)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != expected:
            return f"{name} does not match its checksum"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
