"""An exported model in MLflow's registry, where it is served from raw titles.

A command that ends soon is no training: here MLflow is imported in this process.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import make_url

from search.errors import SearchError
from search.folders import OutputFolder, file_name
from search.redaction import redact
from search.study import KEY_ATTR, ORIGIN_KEY_ATTR
from search.tracking.address import check_tracking
from search.tracking.client import default_tracking_uri
from search.tracking.probe import check_answers
from search.tracking.values import deleted_experiment

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


def check_registry(
    name: str, tracking_uri: str | None, out: Path, *, storage_url: str | None
) -> str:
    """The address of the MLflow to register in, before minutes are spent on training.

    Raises:
        SearchError: MLflow takes no such name, nothing answers at its address, or it would take
            no model: its experiment is deleted, or has no place for artifacts.
    """
    if not name.strip() or any(character in name for character in _FORBIDDEN):
        raise SearchError(f"--register {name!r}: MLflow takes no empty name, and none with / or :")
    uri = check_tracking(
        tracking_uri or default_tracking_uri(out), storage_url or OutputFolder(out).storage_url
    )
    artifacts = str(OutputFolder(out).artifacts.resolve())
    if not uri.startswith("http") and unquote(artifacts) != artifacts:
        raise SearchError(
            f"--register: MLflow does not find a model again in {artifacts}, as it decodes the "
            "% in the name; give --tracking-uri of a server, or rename the folder"
        )
    try:
        check_answers(uri)
    except OSError as error:
        raise SearchError(
            f"no MLflow answers at {redact(uri)} ({error}): start it, or give another "
            "--tracking-uri"
        ) from error
    database = make_url(uri).database if uri.startswith("sqlite") else None
    if database is None or Path(database).exists():  # else all is to be made
        _check_experiment(uri)
    return uri


def _check_experiment(uri: str) -> None:
    with _silent_mlflow(uri) as mlflow:
        try:
            experiment = mlflow.MlflowClient().get_experiment_by_name(EXPERIMENT)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise SearchError(
                f"MLflow at {redact(uri)} cannot be asked for its experiment "
                f"({redact(_first_line(error))}): mend it, or give another --tracking-uri"
            ) from error
    if experiment is None:
        return
    if experiment.lifecycle_stage == "deleted":
        raise SearchError(
            f"MLflow at {redact(uri)} takes no model: {deleted_experiment(experiment, uri)}"
        )
    location = urlsplit(experiment.artifact_location)
    if location.scheme in ("", "file") and not _is_writable(Path(unquote(location.path))):
        raise SearchError(
            f"MLflow at {redact(uri)} keeps the artifacts of its experiment {EXPERIMENT!r} in "
            f"{location.path}, which cannot be written from here: register where it can be"
        )


def _is_writable(folder: Path) -> bool:
    """Whether there is such a folder to write in, or it can be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def register_model(export: Export, folder: Path, name: str, uri: str) -> str:
    """Register the model of ``folder``; what to say of it.

    Raises:
        SearchError: MLflow refuses it; the folder stays as it is.
    """
    with _silent_mlflow(uri) as mlflow:
        try:
            version = _log(export, folder, name)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise SearchError(
                f"the model is written to {folder}, but MLflow did not register it "
                f"({redact(_first_line(error))}): try again with --to another folder"
            ) from error
    where = f"MLFLOW_TRACKING_URI={shlex.quote(redact(uri))}"
    model = shlex.quote(f"models:/{name}/{version}")
    return (
        f"Registered as {name} version {version} in {redact(uri)}\n"
        f"  {where} mlflow models serve --env-manager local -m {model}"
    )


@contextmanager
def _silent_mlflow(uri: str) -> Iterator[ModuleType]:
    """MLflow with this address, without what it says at length and warns of its own doing."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    said = io.StringIO()
    with warnings.catch_warnings(), redirect_stderr(said), redirect_stdout(said):
        warnings.simplefilter("ignore")
        import mlflow

        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(uri)
        yield mlflow


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _log(export: Export, folder: Path, name: str) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    experiment_id, parent_id = _experiment(mlflow.MlflowClient(), export)
    packages = (folder / "requirements.txt").read_text("utf-8").split()
    with (
        _readable_by_mlflow(folder) as artifact,
        mlflow.start_run(
            experiment_id=experiment_id,
            run_name=f"export of trial {export.chosen.trial.number}",
            parent_run_id=parent_id,
            tags={"study": export.opened.name, "kind": "export", **_keys(export)},
        ),
    ):
        mlflow.log_params({"trial": export.chosen.trial.number, **export.chosen.trial.params})
        mlflow.log_metrics(_metrics(export))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"folder": artifact},
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


@contextmanager
def _readable_by_mlflow(folder: Path) -> Iterator[str]:
    """The URI of the folder; of a copy, if MLflow does not find it under its name.

    It decodes what stands before the last element of a URI, and takes that as it is.
    """
    folder = folder.resolve()
    if folder.as_uri().endswith(f"/{folder.name}"):
        yield folder.as_uri()
        return
    with TemporaryDirectory(prefix="register-") as temporary:
        yield shutil.copytree(folder, Path(temporary, "model")).as_uri()


def _experiment(client: MlflowClient, export: Export) -> tuple[str, str | None]:
    """The studies' experiment, and the study's run in it if it was tracked there."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        is_database = not client.tracking_uri.startswith("http")
        artifacts = export.opened.folder.artifacts
        location = artifacts.resolve().as_uri() if is_database else None
        return client.create_experiment(EXPERIMENT, artifact_location=location), None
    query = f"tags.study_key = '{_keys(export).get('study_key')}' and tags.kind = 'study'"
    runs = client.search_runs([found.experiment_id], query, max_results=1)
    return found.experiment_id, runs[0].info.run_id if runs else None


def _keys(export: Export) -> dict[str, str]:
    """Tags by which the study's runs are found; and, of a copy, those of its original."""
    attributes = export.opened.study.user_attrs
    named = {"study_key": KEY_ATTR, ORIGIN_KEY_ATTR: ORIGIN_KEY_ATTR}
    return {tag: file_name(attributes[key]) for tag, key in named.items() if key in attributes}


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
