"""MLflow for a study: what a worker calls while it trains.

A call appends one line to a file and returns; `tracking_sender` passes it on from a process of
its own. So an MLflow that is slow, away or broken costs training nothing: what could not be sent
waits in the folder for the study's next worker.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from search.errors import SearchError
from search.folders import file_name, sqlite_url
from search.names import is_utf8
from search.redaction import redact, without_user
from search.tracking import spool
from search.tracking.supervisor import Supervisor

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
#: Number of a trial's latest attempt that began, its state, its value, and when it ended there, in
#: milliseconds since 1970.
TrialEnd = tuple[int, str, float | None, int]
TRIAL_STATES = ("COMPLETE", "PRUNED", "FAIL", "WAITING")


class Tracker:
    """Tells MLflow of one worker's part in a study: a run for the study, one in it per root trial.

    From `open` to `close` every method returns within about 0.1 ms and raises nothing that has to
    do with MLflow or with the disk. Safe to call from several threads.

    Args:
        tracking_uri: an MLflow server or database; None tracks nothing.
        study_name: name of the parent run.
        study_key: what tells this study from a later one of the same name; the name, if None.
        spool_dir: where events wait; workers that share it share one sender.
        artifact_root: where artifacts go, if this creates the experiment and `tracking_uri` is a
            database; None leaves it to the server.
        notify: gets the few lines a person should see; logging's warnings, if None.
        remark: gets those that may as well be left out; as ``notify``, if None.

    Raises:
        SearchError: the URI cannot be one of MLflow's, or `spool_dir` cannot be written.
    """

    def __init__(
        self,
        tracking_uri: str | None,
        *,
        study_name: str,
        spool_dir: Path,
        study_key: str | None = None,
        experiment: str = "title-search",
        artifact_root: Path | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        note: str | None = None,
        notify: Callable[[str], None] | None = None,
        remark: Callable[[str], None] | None = None,
    ) -> None:
        self._uri = None if tracking_uri is None else checked_tracking_uri(tracking_uri)
        key = file_name(study_key or study_name)  # among plain characters, for MLflow's queries
        self._folder = spool_dir.resolve() / key
        self._study = {
            "event": "study",
            "study_name": study_name,
            "study_key": key,
            "experiment": experiment,
            # As a URI: MLflow decodes a path as if it were one.
            "artifact_root": artifact_root.resolve().as_uri() if artifact_root else None,
            "params": dict(params or {}),
            "tags": dict(tags or {}),
            "note": note,
        }
        self._notify = notify or logging.getLogger(__name__).warning
        self._remark = remark or self._notify
        self._journal: spool.Journal | None = None
        self._supervisor: Supervisor | None = None
        self._is_writable = True
        self._has_trials = False
        self._settled = ""

    def open(self) -> None:
        """Start to track: the study's run is created, or goes on."""
        if self._uri is None:
            return
        try:
            self._journal = spool.Journal(self._folder, _timed(self._study))
        except OSError as error:
            raise SearchError(
                f"cannot write tracking events to {self._folder}: {error.strerror}; "
                "give another output folder"
            ) from error
        self._supervisor = Supervisor(self._journal, self._uri, self._notify)
        self._supervisor.start()

    def trial_started(
        self,
        root: int,
        number: int,
        *,
        params: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Trial `number` takes up `root`'s run: a new one, or that of the attempt before it."""
        self._has_trials = True
        self._append(
            {
                "event": "started",
                "root": root,
                "number": number,
                "params": dict(params),
                "tags": dict(tags or {}),
            }
        )

    def evaluated(self, root: int, step: int, metrics: Mapping[str, float]) -> None:
        """One point on each metric's curve. A step that the run already has is left out."""
        self._append({"event": "evaluated", "root": root, "step": step, "metrics": dict(metrics)})
        if self._supervisor:
            self._supervisor.wake.set()

    def trial_finished(
        self,
        root: int,
        number: int,
        *,
        state: str,
        value: float | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """The trial ended as COMPLETE, PRUNED or FAIL, or was put back as WAITING.

        The run becomes FINISHED, KILLED, FAILED, or SCHEDULED until another trial takes it up. An
        attempt that a newer one has overtaken changes nothing.
        """
        if state not in TRIAL_STATES:
            raise ValueError(f"state must be one of {', '.join(TRIAL_STATES)}, got {state!r}")
        event = {"event": "finished", "root": root, "number": number, "state": state}
        self._append({**event, "value": value, "tags": dict(tags or {})})

    def study_progress(
        self,
        step: int,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, Any] | None = None,
        note: str | None = None,
        state: str | None = None,
    ) -> None:
        """Points on the study's own curves, with the number of finished trials as step.

        `state` COMPLETE ends the study's run, WAITING says that it was interrupted.
        """
        event = {"event": "progress", "step": step, "state": state, "note": note}
        self._append({**event, "metrics": dict(metrics or {}), "tags": dict(tags or {})})

    def trial_states(self, roots: Mapping[int, TrialEnd], *, of_all: bool = False) -> None:
        """Where trials stand in the study, by root: MLflow may not have heard of their ends.

        Args:
            of_all: No trial that has ended, or waits, is left out.
        """
        states = {str(root): list(end) for root, end in sorted(roots.items())}
        digest = hashlib.blake2b(json.dumps(states).encode(), digest_size=8).hexdigest()
        self._settled = digest if of_all else self._settled
        if states:
            self._append({"event": "states", "roots": states, "settled": self._settled})

    def log_text(self, root: int | None, text: str, path: str) -> None:
        """Keep `text` as the file `path` among a trial's artifacts; the study's with root None."""
        self._append({"event": "text", "root": root, "text": text, "path": path})

    def log_artifact(self, root: int | None, file: Path, folder: str | None = None) -> None:
        """Keep a file among a trial's artifacts. It must stay in place until it is sent."""
        event = {"event": "artifact", "root": root, "file": str(file.resolve())}
        self._append({**event, "folder": folder})

    def close(self, timeout_seconds: float = 10.0) -> int:
        """Wait until MLflow has everything, at most so long; the number of events left waiting."""
        if self._journal is None or self._supervisor is None:
            return 0
        supervisor, journal = self._supervisor, self._journal
        self._journal = self._supervisor = None
        if self._has_nothing_new(journal):
            supervisor.leave()
            spool.discard(journal.path)
            journal.close()
            return 0
        is_reachable = supervisor.finish(timeout_seconds)
        waiting = journal.undelivered()
        journal.close()
        supervisor.part()
        if waiting and is_reachable:
            self._remark(f"MLflow is still being sent the last {waiting:,} events")
        elif waiting:
            self._notify(
                f"MLflow has not got the last {waiting:,} events: they wait in {self._folder} "
                "and are sent when the study next runs"
            )
        return waiting

    def _has_nothing_new(self, journal: spool.Journal) -> bool:
        """Whether MLflow has all of a study that had ended before, and no trial came to it."""
        status = spool.read_status(self._folder)
        alone = spool.journals(self._folder) == [journal.path]
        is_known = status.get("ended", False) and status.get("settled", "") == self._settled
        return is_known and alone and not self._has_trials and not spool.read_later(self._folder)

    def _append(self, event: spool.Event) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(_timed(event))
            self._is_writable = True
        except OSError as error:
            if self._is_writable:
                self._notify(f"tracking events cannot be written, and are lost: {error}")
            self._is_writable = False


def _timed(event: spool.Event) -> spool.Event:
    return {**event, "time": time.time_ns() // 1_000_000}


def runs_page(
    tracking_uri: str, spool_dir: Path, study_key: str, origin_key: str | None = None
) -> str:
    """Address of the table of runs, for `mlflow ui` where `tracking_uri` is a database; empty if
    it is not known yet. A copy that has no runs yet is led to those of its original."""
    experiment = None
    for key in filter(None, (study_key, origin_key)):
        status = spool.read_status(spool_dir.resolve() / file_name(key))
        experiment = experiment or status.get("experiment")
    if not experiment and tracking_uri == default_tracking_uri(spool_dir.parent):
        experiment = "1"  # where the first is still being created
    if not experiment:
        return ""
    is_server = tracking_uri.startswith(("http://", "https://"))
    base = without_user(tracking_uri).rstrip("/") if is_server else "http://127.0.0.1:5000"
    # Without the last part the page may be that for language models, which lists no runs.
    return f"{base}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def default_tracking_uri(out: Path) -> str:
    """The database that a study's output folder keeps for itself."""
    return sqlite_url(out.resolve() / "mlflow.db")


def checked_tracking_uri(uri: str) -> str:
    """The URI, with an absolute path in one of SQLite. Does not ask whether anything is there.

    Raises:
        SearchError: it can be no tracking URI of MLflow, or names a file that is no database.
    """
    scheme, _, rest = uri.partition("://")
    if not rest or scheme.partition("+")[0] not in SCHEMES:
        raise SearchError(
            f"{redact(uri)!r} is no address for MLflow: "
            "give sqlite:///PATH, http://HOST:PORT or a database URL"
        )
    if scheme == "sqlite":
        path, mark, query = rest.removeprefix("/").partition("?")
        return sqlite_url(_checked_database(Path(unquote(path)))) + mark + query
    try:
        has_host = bool(urlsplit(uri).hostname) or not scheme.startswith("http")
        _ = urlsplit(uri).port
    except ValueError:
        has_host = False
    if not has_host:
        raise SearchError(
            f"{redact(uri)!r} names no host and port: give http://HOST:PORT, and write special "
            "characters of a password as %XX"
        )
    return uri


def _checked_database(path: Path) -> Path:
    path = path.resolve()
    if not is_utf8(path):
        raise SearchError(f"the MLflow database {str(path)!r} is not UTF-8: give another")
    if path.is_dir():
        raise SearchError(f"the MLflow database {path} is a folder: name a file in it")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(16).startswith(b"SQLite format 3"):
                raise SearchError(f"the MLflow database {path} is no SQLite file: give another")
    return path
