"""What every test may rely on: a clean environment and one torch thread."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# Started in the background by a shell, this process ignores Ctrl-C, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """The developer's shell must not change what a test sees."""
    for name in ("STORAGE_URL", "MLFLOW_TRACKING_URI", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mlflow_is_away(clean_environment, monkeypatch):
    """Nobody listens there: MLflow's own start takes longer than a search of a few titles."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


@pytest.fixture
def shared_data():
    """The folder of real titles that stands beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real titles (../shared/data) is not here")
    return SHARED_DATA
