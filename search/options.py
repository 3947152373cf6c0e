"""What the user asks for, checked before anything is read or written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from data_utils.spec import DataSpec
from search.errors import SearchError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class SearchOptions:
    """One search as the command line describes it; None means that the user left it open."""

    model: str
    n_trials: int
    timeout_seconds: float | None
    study_name: str | None
    storage_url: str | None
    sampler: str
    pruner: str
    max_epochs: int | None
    seed: int
    data: DataSpec
    vectors: Path | None
    embedding_dim: int | None
    num_workers: int
    device: str
    out: Path
    tracking_uri: str | None
    quiet: bool
    json: bool

    def check(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            SearchError: Names the option, its value and what it takes.
        """
        at_least_one = {
            "--trials": self.n_trials,
            "--workers": self.num_workers,
            "--epochs": self.max_epochs,
            "--dim": self.embedding_dim,
            "--min-letters": self.data.cleaning.min_letters,
        }
        for option, number in at_least_one.items():
            if number is not None and number < 1:
                raise SearchError(f"{option} is {number}; give a whole number from 1")
        if not 0 <= self.seed < 2**32:
            raise SearchError(f"--seed is {self.seed}; give a whole number from 0 to {2**32 - 1}")


def parse_duration(text: str | None) -> float | None:
    """Seconds of ``90``, ``90s``, ``20m``, ``1.5h`` or ``2d``.

    Raises:
        SearchError: It is no such duration, or not above 0.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise SearchError(f"--timeout is {text!r}; give a time such as 90s, 20m or 2h")
    return float(match[1]) * _UNITS[match[2]]
