"""What the user asks for, checked before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from data_utils.spec import DataSpec
from search.errors import SearchError
from search.names import check_study_name, is_utf8
from search.objectives import ONE_OBJECTIVE, SAMPLERS_OF_SEVERAL

DEFAULT_TRIALS = 50
#: How many of the best trials a report looks at.
DEFAULT_TOP = 3
#: Of a search with one objective: docs/pruning.md says why.
DEFAULT_PRUNER = "asha"
_MOST_SECONDS = 36_500 * 86400
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class WarmStart:
    """From which study's best trials a new study starts."""

    study_name: str
    storage_url: str | None
    num_trials: int


@dataclass(frozen=True)
class SearchOptions:
    """One search as the command line describes it; None means that the user left it open.

    ``settings`` are the texts of ``--set``.
    """

    model: str
    n_trials: int | None
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
    settings: tuple[str, ...] = ()
    warm_start: WarmStart | None = None
    trial_timeout_seconds: float | None = None
    hang_timeout_seconds: float | None = None
    launcher: str = "local"
    ray_address: str | None = None
    objectives: tuple[str, ...] = ONE_OBJECTIVE
    limits: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def epochs(self) -> int:
        """Most epochs of a trial."""
        from search.spaces import DEFAULT_EPOCHS

        return self.max_epochs or DEFAULT_EPOCHS[self.model]

    @cached_property
    def fixed_params(self) -> dict[str, Any]:
        """Parameters that are not searched.

        Raises:
            SearchError: ``--set`` contradicts the search space, or the grid.
        """
        from search.configurations import parse_settings, pinned_grid

        params = parse_settings(list(self.settings), self.model, self.epochs)
        if params and self.sampler == "grid":
            pinned_grid(self.model, self.epochs, params)
        return params

    @cached_property
    def is_single(self) -> bool:
        """Whether ``--set`` leaves nothing to search: one configuration."""
        from search.configurations import is_complete

        return is_complete(self.fixed_params, self.model, self.epochs)

    @cached_property
    def vectors_width(self) -> int:
        """The width of the word vectors, by the head of their file if they come from one.

        Raises:
            DataError: The file is not there, holds no vectors, or others than ``--dim`` says.
        """
        from data_utils.vector_files import width_in
        from search.spaces import DEFAULT_DIM

        if self.vectors is None:
            return self.embedding_dim or DEFAULT_DIM
        return width_in(self.vectors, self.embedding_dim)

    @property
    def budget(self) -> int:
        """Trials that the whole study shall have."""
        return self.n_trials or (1 if self.is_single else DEFAULT_TRIALS)

    def check(self) -> None:
        """Refuse numbers and names that cannot be meant.

        Raises:
            SearchError: Names the option, its value and what it takes.
        """
        if self.study_name is not None:
            check_study_name(self.study_name)
        for option, file in (("--data", self.data.source), ("--vectors", self.vectors)):
            if not is_utf8(file):
                raise SearchError(
                    f"{option} {str(file)!r} is not UTF-8, and is stored with the study: give the "
                    "file another name"
                )
        at_least_one = {
            "--trials": self.n_trials,
            "--workers": self.num_workers,
            "--epochs": self.max_epochs,
            "--dim": self.embedding_dim,
            "--from-top": None if self.warm_start is None else self.warm_start.num_trials,
            "--min-letters": self.data.cleaning.min_letters,
        }
        for option, number in at_least_one.items():
            if number is not None and number < 1:
                raise SearchError(f"{option} is {number}; give a whole number from 1")
        if not 0 <= self.seed < 2**32:
            raise SearchError(f"--seed is {self.seed}; give a whole number from 0 to {2**32 - 1}")
        if self.warm_start is not None and self.sampler == "grid":
            raise SearchError("--sampler grid tries its own points: leave --from out")
        if len(self.objectives) > 1:
            self._check_several()
        if self.fixed_params and self.is_single and self.budget > 1:
            raise SearchError(
                f"--trials is {self.n_trials}, but --set leaves one configuration: leave --trials "
                "out, or search some of the parameters"
            )

    def _check_several(self) -> None:
        asked = ",".join(self.objectives)
        if self.pruner != "none":
            raise SearchError(
                f"--pruner {self.pruner} judges by one value, and --objectives {asked} has "
                f"{len(self.objectives)}: leave --pruner out"
            )
        if self.sampler not in SAMPLERS_OF_SEVERAL:
            raise SearchError(
                f"--sampler {self.sampler} takes one objective, not --objectives {asked}: give "
                f"{' or '.join(SAMPLERS_OF_SEVERAL)}"
            )


def parse_duration(text: str | None, option: str = "--timeout") -> float | None:
    """Seconds of ``90``, ``90s``, ``20m``, ``1.5h`` or ``2d``.

    Raises:
        SearchError: It is no such duration, not above 0, or beyond what a calendar holds.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise SearchError(f"{option} is {text!r}; give a time such as 90s, 20m or 2h")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _MOST_SECONDS:
        raise SearchError(f"{option} is {text!r}; give at most {_MOST_SECONDS // 86400}d")
    return seconds
