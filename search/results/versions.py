"""What a result was made with."""

from __future__ import annotations

import platform
import subprocess
import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from search import __version__

_PACKAGES = ("torch", "numpy", "safetensors", "snowballstemmer", "stop-words", "gensim", "optuna")
_ROOT = Path(__file__).resolve().parents[2]


def versions() -> dict[str, Any]:
    """Versions of the program, of Python and of the packages that figures depend on."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "title-search": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "machine": platform.machine(),
        "packages": packages,
    }


def _commit() -> str | None:
    """The git commit of this program, with "-dirty" if files differ; None outside of git."""
    if not (_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
