"""The output folder: what stands where."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from search.errors import SearchError


@dataclass(frozen=True)
class OutputFolder:
    """Everything that a search writes is under ``root``."""

    root: Path

    def create(self) -> None:
        """Make the folder and see that it can be written, before any work is done.

        Raises:
            SearchError: It cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise SearchError(
                f"the output folder {self.root} cannot be written ({error.strerror}); "
                "give another with --out FOLDER"
            ) from None

    @property
    def storage_url(self) -> str:
        return f"sqlite:///{self.root / 'optuna.db'}"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def tracking_events(self) -> Path:
        return self.root / "tracking"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def dashboard_artifacts(self) -> Path:
        return self.root / "artifacts"
