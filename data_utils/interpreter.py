"""New interpreters that run code of ours, from any working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

_ROOT = str(Path(__file__).resolve().parent.parent)


def start_python(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start Python with these arguments, so that it finds the packages of this project.

    It imports nothing from the working folder, where ``-c`` and ``-m`` look first of all: a
    ``numpy.py`` or ``search/`` that lies there is somebody else's.

    Args:
        environment: Added to this process's own.
        options: Further ones of ``subprocess.Popen``.
    """
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": path},
        **options,
    )
