"""The digest of a large file, remembered: hashing gigabytes on every start would be slow."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_utils.cache import Progress
from data_utils.errors import DataError
from data_utils.vector_files import describe_read_error

FileState = list[int]
"""Device, inode, size, and times of modification and of change."""


def file_digest(path: Path, memo_dir: Path, *, progress: Progress | None = None) -> str:
    """SHA-256 of the file's bytes, taken from ``memo_dir`` if the file is unchanged since.

    Unchanged means: same real path, inode, size, and times of modification and of change. The
    last one cannot be set back, as ``cp -p`` and ``touch -r`` do with the one before.

    Raises DataError if the file cannot be read, or changes meanwhile.
    """
    try:
        real = path.resolve(strict=True)
        state = file_state(real)
    except OSError as error:
        raise DataError(describe_read_error(path, error)) from error
    memo = memo_dir / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.digest.json"
    remembered = _load(memo)
    if remembered.get("state") == state:
        return str(remembered.get("digest"))
    if progress is not None:
        progress(f"checking {path.name}", None)
    try:
        with real.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if file_state(real) != state:
            raise DataError(f"{path} changed while it was read: try again when it is complete")
    except OSError as error:
        raise DataError(describe_read_error(path, error)) from error
    with suppress(OSError):  # only a shortcut: without it the file is hashed again
        _save(memo, {"state": state, "digest": digest})
    return digest


def file_state(path: Path) -> FileState:
    """What is another once a file has changed. Raises OSError if it cannot be read."""
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _load(memo: Path) -> dict[str, Any]:
    try:
        remembered = json.loads(memo.read_bytes())
    except (OSError, ValueError):
        return {}
    return remembered if isinstance(remembered, dict) else {}


def _save(memo: Path, remembered: dict[str, Any]) -> None:
    memo.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".digest.", suffix=".partial", dir=memo.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(remembered, file)
        os.replace(name, memo)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
