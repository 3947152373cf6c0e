"""What MLflow takes, and how runs, tags and names of ours are written in it."""

import getpass
import posixpath
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.redaction import redact
from search.tracking.spool import Event

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Metric, Run

# A trial that waits to be resumed is SCHEDULED: it has no end yet, and no process runs it.
RUN_STATUS = {
    "RUNNING": "RUNNING",
    "WAITING": "SCHEDULED",
    "COMPLETE": "FINISHED",
    "PRUNED": "KILLED",
    "FAIL": "FAILED",
}
ENDED = {"FINISHED", "KILLED", "FAILED"}

# MLflow's own limits (mlflow/utils/validation.py): more is refused, with the whole batch.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100
MAX_PARAM_LENGTH, MAX_TAG_LENGTH, MAX_KEY_LENGTH = 6000, 8000, 250

# Without it MLflow's pages take an experiment for one of language models, and hide its runs.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

# Of the experiment: when something was last refused there, in milliseconds since 1970.
REFUSED_TAG = "title-search.last_refusal"


@dataclass
class TrackedRun:
    """What is known of a run; `steps` of a metric is filled on its first use."""

    run_id: str
    status: str
    number: int = -1
    attempts: int = 0
    params: set[str] = field(default_factory=set)
    steps: dict[str, set[int]] = field(default_factory=dict)
    ended_at: int = 0  # milliseconds since 1970
    updated_at: int = 0  # when the newest of its summaries was written
    is_new: bool = False  # created here, so no metric can be there already
    waiting: list["Metric"] = field(default_factory=list)


def deleted_experiment(experiment: "Experiment", tracking_uri: str) -> str:
    """What to say of one that is deleted: bringing it back is for whoever deleted it."""
    command = f"mlflow experiments restore -x {experiment.experiment_id}"
    where = f"MLFLOW_TRACKING_URI={shlex.quote(redact(tracking_uri))}"
    return f"its experiment {experiment.name!r} is deleted: {where} {command}"


def known_run(run: "Run") -> TrackedRun:
    """What its tags and its status say of a run that was found."""
    tags = run.data.tags
    return TrackedRun(
        run.info.run_id,
        status=run.info.status,
        ended_at=run.info.end_time or 0,
        updated_at=int(tags.get("updated", 0)),
        number=int(tags.get("trial", -1)),
        attempts=int(tags.get("attempts", 0)),
        params=set(run.data.params),
    )


def age_of(run: "Run") -> tuple[int, str]:
    """For an order of runs that is the same for all: the oldest comes first."""
    return int(run.data.tags.get("created", 0)), run.info.run_id


def study_tags(event: Event) -> dict[str, Any]:
    """Those of the study's run, with its note where MLflow shows one."""
    note = {"mlflow.note.content": event["note"]} if event.get("note") else {}
    return {**event["tags"], **note}


def fitting(values: dict[str, Any], limit: int) -> Iterable[tuple[str, str]]:
    """Names and texts that MLflow takes, each text cut to ``limit`` characters."""
    for key, value in values.items():
        text = str(value)
        yield mlflow_name(key), text if len(text) <= limit else text[: limit - 1] + "…"


def mlflow_name(key: str) -> str:
    """A name that MLflow takes: for one comma, or a path that leads up, it refuses a batch."""
    key = re.sub(r"[^\w.\- :/]", "_", key)[:MAX_KEY_LENGTH]
    if posixpath.normpath(key) == key and not key.startswith((".", "/")):
        return key
    return f"_{key.replace('/', '_')}"


def user_name() -> str:
    """Who this is, as MLflow shows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"
