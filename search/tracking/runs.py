"""Events of a study turned into MLflow runs: the only module that imports mlflow.

A parent run for the study and a nested run for each root trial, found again by their tags, so
that any event may be applied twice, late, or by another process, and nothing is there twice.
"""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.tracking.spool import Event
from search.tracking.values import (
    ENDED,
    EXPERIMENT_TAGS,
    MAX_METRICS,
    MAX_PARAM_LENGTH,
    MAX_PARAMS,
    MAX_TAG_LENGTH,
    MAX_TAGS,
    REFUSED_TAG,
    RUN_STATUS,
    TrackedRun,
    age_of,
    deleted_experiment,
    fitting,
    known_run,
    mlflow_name,
    study_tags,
    user_name,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

# Two machines that start the same study at once may each create its parent run. A set of
# candidates that has not changed for this long is taken as complete; one older than RECENT_NS
# is taken as settled.
SETTLE_SECONDS = 1.0
RECENT_NS = 60 * 10**9


class StudyRuns:
    """The runs of one study in one MLflow. `study` is the event that Tracker.open writes.

    Raises:
        mlflow.exceptions.MlflowException: from every method, when MLflow refuses or is away.
    """

    def __init__(self, tracking_uri: str, study: Event) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self._is_shared = not tracking_uri.startswith("sqlite")
        self._study = study
        self._roots: dict[int, TrackedRun] = {}
        self.experiment_id = self._find_or_create_experiment()
        self.parent = self._find_or_create_parent()

    def apply(self, event: Event) -> None:
        """Carry out one event. Metrics may wait for `flush`; everything else is done at once."""
        match event["event"]:
            case "evaluated":
                self._collect(self._run_of(event), event["step"], event["metrics"], event["time"])
                return
            case "study":
                self._resume_study(event)
            case "started":
                self._start_trial(event)
            case "finished":
                self._finish_trial(event)
            case "progress":
                self._progress(event)
            case "states":
                self._settle(event)
            case "text":
                self._client.log_text(self._run_of(event).run_id, event["text"], event["path"])
            case "artifact":
                # A file that is gone since is no reason to hold up the events behind it.
                if Path(event["file"]).exists():
                    run_id = self._run_of(event).run_id
                    self._client.log_artifact(run_id, event["file"], event["folder"])

    def flush(self) -> None:
        """Send the metrics that wait, one batch per run."""
        for run in [self.parent, *self._roots.values()]:
            if run.waiting:
                self._log(run)

    def is_answering(self) -> bool:
        """Whether MLflow takes what is written: tells a refused event from an outage.

        It does not while the experiment is deleted, which may be restored with all its runs, nor
        while the database behind it is read-only, as in a failover. So it is asked by writing.
        """
        try:
            now = str(time.time_ns() // 1_000_000)  # another value: else nothing would be written
            self._client.set_experiment_tag(self.experiment_id, REFUSED_TAG, now)
            return True
        except Exception:
            return False

    # The study

    def _find_or_create_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self._study["experiment"]
        for attempt in (1, 2):
            experiment = self._client.get_experiment_by_name(name)
            if experiment and experiment.lifecycle_stage == "deleted":
                raise MlflowException(deleted_experiment(experiment, self._tracking_uri))
            if experiment:
                return str(experiment.experiment_id)
            try:
                location = self._study.get("artifact_root")
                return self._client.create_experiment(name, location, EXPERIMENT_TAGS)
            except MlflowException as error:
                # Another machine was faster; then it is there now.
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _find_or_create_parent(self) -> TrackedRun:
        mine = None
        found = self._search("study")
        if not found:
            name = self._study["study_name"]
            mine = self._create(name, "study", self._study, parent_id=None)
        if self._is_shared and (mine or max(map(age_of, found))[0] > time.time_ns() - RECENT_NS):
            found = self._settled_parents()
        if found and (mine is None or min(found, key=age_of).info.run_id != mine.run_id):
            if mine:
                self._client.delete_run(mine.run_id)  # each deletes only its own
            return known_run(min(found, key=age_of))
        assert mine  # nothing was found, so it was created above
        self._log(mine, params=self._study["params"])
        return mine

    def _settled_parents(self) -> list["Run"]:
        before: set[str] | None = None
        while True:
            candidates = self._search("study")
            now = {run.info.run_id for run in candidates}
            if now == before:
                return candidates
            before = now
            time.sleep(SETTLE_SECONDS)

    def _resume_study(self, event: Event) -> None:
        self._log(self.parent, params=event["params"], tags=study_tags(event))

    def _progress(self, event: Event) -> None:
        self._collect(self.parent, event["step"], event["metrics"], event["time"])
        # Each worker's events come in their order, but not those of several workers.
        if event["time"] >= self.parent.updated_at and (event["tags"] or event["note"]):
            self.parent.updated_at = event["time"]
            self._log(self.parent, tags={**study_tags(event), "updated": event["time"]})
        if event["state"]:
            self._end_study(RUN_STATUS[event["state"]], event["time"])

    def _end_study(self, status: str, at: int) -> None:
        # Its end is that of its last trial: a worker or a command that finds it ended, or that
        # is interrupted just then, leaves it there. Another machine may have ended it.
        info = self._client.get_run(self.parent.run_id).info
        self.parent.status, self.parent.ended_at = info.status, info.end_time or 0
        if info.status != "FINISHED":
            self._set_status(self.parent, status, at)

    def _reopen_study(self, at: int) -> None:
        # Not for what was done before its end, and arrives after it.
        if self.parent.status != "RUNNING" and at > self.parent.ended_at:
            self._set_status(self.parent, "RUNNING", at)

    # Trials

    def _start_trial(self, event: Event) -> None:
        root, number = event["root"], event["number"]
        self._reopen_study(event["time"])
        known = self._roots.get(root)
        if known and number > known.number:
            # A new attempt may have been tracked from elsewhere since: look again.
            del self._roots[root]
        run = self._run_of(event)
        if number < run.number or (number == run.number and run.status in ENDED):
            return  # a late copy of an attempt that others have taken further
        tags = {**self._study["tags"], **event["tags"], "trial": number, "root": root}
        tags["state"] = "RUNNING"
        if number > run.number:
            run.number, run.attempts = number, run.attempts + 1
        self._log(run, params=event["params"], tags={**tags, "attempts": run.attempts})
        if run.status != "RUNNING":
            self._set_status(run, "RUNNING", event["time"])

    def _finish_trial(self, event: Event) -> None:
        run = self._run_of(event)
        if event["number"] < run.number:
            return  # the worker lost this trial to another attempt meanwhile
        run.number = event["number"]
        if event["value"] is not None:
            self._collect(run, 0, {"value": event["value"]}, event["time"])
        tags = {**event["tags"], "trial": run.number, "state": event["state"]}
        self._log(run, tags=tags)
        self._set_status(run, RUN_STATUS[event["state"]], event["time"])

    def _settle(self, event: Event) -> None:
        """End, or put back, the runs whose trials ended without a word from their workers: these
        died, or the trial was cancelled while it waited."""
        for status in ("RUNNING", "SCHEDULED"):
            for run in self._search("trial", status=status):
                root = int(run.data.tags["root"])
                if str(root) not in event["roots"]:
                    continue  # it runs, or it never did
                number, state, value, ended_at = event["roots"][str(root)]
                # As it is there now: another machine's workers may have taken it further.
                has_begun = 0 <= known_run(run).number <= number
                if has_begun and status != RUN_STATUS[state]:
                    end = {"root": root, "number": number, "state": state, "value": value}
                    self._finish_trial({**end, "tags": {}, "time": ended_at})

    def _run_of(self, event: Event) -> TrackedRun:
        root = event.get("root")
        if root is None:
            return self.parent
        if root not in self._roots:
            found = self._search("trial", root=root)
            if found:
                self._roots[root] = known_run(min(found, key=age_of))
            else:
                self._roots[root] = self._create(
                    f"trial {root}", "trial", event, parent_id=self.parent.run_id
                )
            self._forget_old_runs()
        return self._roots[root]

    def _forget_old_runs(self) -> None:
        """Keep the cache small in a long study: a forgotten run is found again by its tags."""
        while len(self._roots) > 100:
            oldest = next(iter(self._roots))
            if self._roots[oldest].waiting:
                self._log(self._roots[oldest])
            del self._roots[oldest]

    # MLflow

    def _search(
        self, kind: str, *, root: int | None = None, status: str | None = None
    ) -> list["Run"]:
        clauses = {"tags.study_key": self._study["study_key"], "tags.kind": kind}
        if root is not None:
            clauses["tags.root"] = str(root)
        if status is not None:
            clauses["attributes.status"] = status
        text = " and ".join(f"{key} = '{value}'" for key, value in clauses.items())
        return list(self._client.search_runs([self.experiment_id], text))

    def _create(self, name: str, kind: str, event: Event, *, parent_id: str | None) -> TrackedRun:
        tags = {
            "study": self._study["study_name"],
            "study_key": self._study["study_key"],
            "kind": kind,
            "created": str(time.time_ns()),
            "mlflow.user": user_name(),
            "mlflow.source.name": "studies.py",
            "mlflow.source.type": "LOCAL",
        }
        if parent_id:
            tags |= {"mlflow.parentRunId": parent_id, "root": str(event["root"])}
        else:
            tags |= study_tags(event)
        run = self._client.create_run(
            self.experiment_id,
            start_time=event["time"],
            tags=dict(fitting(tags, MAX_TAG_LENGTH)),
            run_name=name,
        )
        return TrackedRun(run.info.run_id, status="RUNNING", is_new=True)

    def _collect(self, run: TrackedRun, step: int, metrics: dict[str, Any], at: int) -> None:
        """Queue the points that the run has not got; what is no number becomes a tag."""
        from mlflow.entities import Metric

        for name, value in metrics.items():
            key = mlflow_name(name)
            if key not in run.steps:
                history = [] if run.is_new else self._client.get_metric_history(run.run_id, key)
                run.steps[key] = {point.step for point in history}
            if step in run.steps[key]:
                continue
            run.steps[key].add(step)
            if math.isfinite(value):
                run.waiting.append(Metric(key, float(value), at, step))
            else:
                # MLflow would store 0 or 1.8e308, which no reader can tell from a measurement.
                self._log(run, tags={"not_finite": f"{key} was {value} at step {step}"})

    def _log(
        self,
        run: TrackedRun,
        *,
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        """Send the waiting metrics with new params and these tags, in as few calls as allowed."""
        from mlflow.entities import Param, RunTag

        # Params cannot be changed in MLflow: the first attempt's stay.
        new_params = {k: v for k, v in (params or {}).items() if mlflow_name(k) not in run.params}
        run.params.update(map(mlflow_name, new_params))
        metrics, run.waiting = run.waiting, []
        all_params = [Param(k, v) for k, v in fitting(new_params, MAX_PARAM_LENGTH)]
        all_tags = [RunTag(k, v) for k, v in fitting(tags or {}, MAX_TAG_LENGTH)]
        while metrics or all_params or all_tags:
            self._client.log_batch(
                run.run_id,
                metrics=metrics[:MAX_METRICS],
                params=all_params[:MAX_PARAMS],
                tags=all_tags[:MAX_TAGS],
            )
            metrics, all_params = metrics[MAX_METRICS:], all_params[MAX_PARAMS:]
            all_tags = all_tags[MAX_TAGS:]

    def _set_status(self, run: TrackedRun, status: str, at: int) -> None:
        run.status = status
        if status in ENDED:
            run.ended_at = at
            self._client.set_terminated(run.run_id, status=status, end_time=at)
        else:
            self._client.update_run(run.run_id, status=status)
