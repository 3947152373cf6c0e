"""An exported model in MLflow's registry, where it is served from raw titles.

A command that ends soon is no training: here MLflow is imported in this process.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import SearchError
from search.folders import OutputFolder
from search.study import KEY_ATTR
from search.tracking.client import checked_tracking_uri, default_tracking_uri
from search.tracking.probe import check_answers
from search.tracking.supervisor import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from search.results.export import Export

EXPERIMENT = "title-search"
EXAMPLE = "Silla de oficina ergonómica negra"

_FORBIDDEN = "/:"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def check_registry(name: str, tracking_uri: str | None, out: Path) -> str:
    """The address of the MLflow to register in, before minutes are spent on training.

    Raises:
        SearchError: MLflow takes no such name, or nothing answers at its address.
    """
    if not name.strip() or any(character in name for character in _FORBIDDEN):
        raise SearchError(f"--register {name!r}: MLflow takes no empty name, and none with / or :")
    uri = checked_tracking_uri(tracking_uri or default_tracking_uri(out))
    try:
        check_answers(uri)
    except OSError as error:
        raise SearchError(
            f"no MLflow answers at {without_credentials(uri)} ({error}): "
            "start it, or give another --tracking-uri"
        ) from error
    return uri


def register_model(export: Export, folder: Path, name: str, uri: str) -> str:
    """Register the model of ``folder``; what to say of it.

    Raises:
        SearchError: MLflow refuses it; the folder stays as it is.
    """
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    import mlflow
    from mlflow.exceptions import MlflowException

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    try:
        # It says at length what is said here in a line, and warns of its own doing.
        said = io.StringIO()
        with warnings.catch_warnings(), redirect_stderr(said), redirect_stdout(said):
            warnings.simplefilter("ignore")
            version = _log(export, folder, name)
    except (MlflowException, OSError) as error:
        raise SearchError(
            f"the model is written to {folder}, but MLflow did not register it "
            f"({str(error).splitlines()[0]}): try again with --to another folder"
        ) from error
    return (
        f"Registered as {name} version {version} in {without_credentials(uri)}\n"
        f"  MLFLOW_TRACKING_URI={without_credentials(uri)} "
        f"mlflow models serve --env-manager local -m 'models:/{name}/{version}'"
    )


def _log(export: Export, folder: Path, name: str) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    experiment_id, parent_id = _experiment(mlflow.MlflowClient(), export)
    packages = (folder / "requirements.txt").read_text("utf-8").split()
    with mlflow.start_run(
        experiment_id=experiment_id,
        run_name=f"export of trial {export.chosen.trial.number}",
        parent_run_id=parent_id,
        tags={"study": export.opened.name, "kind": "export"},
    ):
        mlflow.log_params({"trial": export.chosen.trial.number, **export.chosen.trial.params})
        mlflow.log_metrics(_metrics(export))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"folder": str(folder)},
            code_paths=[str(folder / part) for part in ("data_utils", "models", "prediction")],
            signature=ModelSignature(
                inputs=Schema([ColSpec("string", "title", required=False)]),
                outputs=Schema([ColSpec("string", "category"), ColSpec("double", "probability")]),
            ),
            input_example=_example(),
            pip_requirements=[*packages, f"mlflow=={mlflow.__version__}", "pandas"],
            registered_model_name=name,
        )
    return str(info.registered_model_version)


def _experiment(client: MlflowClient, export: Export) -> tuple[str, str | None]:
    """The studies' experiment, and the study's run in it if it was tracked there."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        artifacts = OutputFolder(export.opened.folder.root).artifacts.resolve()
        is_database = not client.tracking_uri.startswith("http")
        location = str(artifacts) if is_database else None
        return client.create_experiment(EXPERIMENT, artifact_location=location), None
    key = export.opened.study.user_attrs.get(KEY_ATTR)
    query = f"tags.study_key = '{key}' and tags.kind = 'study'"
    runs = client.search_runs([found.experiment_id], query, max_results=1)
    return found.experiment_id, runs[0].info.run_id if runs else None


def _metrics(export: Export) -> dict[str, float]:
    figures, best = export.figures, export.trained.best
    return {
        "test_balanced_accuracy": figures.balanced_accuracy,
        "test_accuracy": figures.accuracy,
        "test_loss": figures.loss,
        "validation_balanced_accuracy": best.balanced_accuracy,
        "validation_balanced_accuracy_mean": export.chosen.mean,
    }


def _example() -> Any:
    import pandas

    return pandas.DataFrame({"title": [EXAMPLE]})
