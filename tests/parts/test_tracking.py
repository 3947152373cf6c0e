"""Tracking against a real MLflow: its SQLite database, and a server process."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState

from search.errors import SearchError
from search.results.registry import check_registry
from search.storage.budget import set_budget
from search.storage.claims import Claim
from search.storage.control import cancel
from search.storage.opening import open_storage
from search.storage.trial_queue import claim, release
from search.study import ORIGIN_KEY_ATTR
from search.tracking import spool as tracking_spool
from search.tracking.client import Tracker, checked_tracking_uri, default_tracking_uri, runs_page
from search.tracking.probe import check_answers
from search.tracking.runs import StudyRuns
from search.tracking.sender import Sender
from search.tracking.study_run import Ends

PROJECT = Path(__file__).resolve().parents[2]
# Of mlflow's own making, where the tests read what is in it.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

EXPERIMENT = "title-search"
CLOSE_SECONDS = 60.0  # tables are created on a machine that does other things as well


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MLflow database with its tables, and nothing in them that MLflow does not put there."""
    uri = default_tracking_uri(tmp_path_factory.mktemp("tables"))
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    MlflowClient(uri).search_experiments()
    return Path(uri.removeprefix("sqlite:///")).read_bytes()


@pytest.fixture(scope="module")
def database(
    tmp_path_factory: pytest.TempPathFactory, copy_of_tables: Callable[[Path], str]
) -> str:
    """A database for all tests of this module."""
    return copy_of_tables(tmp_path_factory.mktemp("mlflow"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """`mlflow server` with one worker; can be started late.

    Artifacts are kept by the server, or by its clients in a folder of its choice.
    """

    def __init__(self, folder: Path, *, clients_write_to: Path | None = None) -> None:
        self.folder = folder
        self._artifacts = ["--artifacts-destination", str(folder / "artifacts")]
        if clients_write_to:
            self._artifacts = ["--default-artifact-root", str(clients_write_to)]
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["server", "--workers", "1", "--port", str(self.port)]
        backend = ["--backend-store-uri", default_tracking_uri(self.folder)]
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *command, *backend, *self._artifacts],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
                start_new_session=True,
            )

    def wait(self) -> None:
        for _ in range(1800):  # on a machine that does other things as well
            try:
                check_answers(self.uri)
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            # It and its workers are a group of their own; asked to end they take 10 seconds.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def copy_of_tables(tables: bytes) -> Callable[[Path], str]:
    """Put a database of one's own into a folder, some seconds faster than it could be created."""

    def copy(folder: Path) -> str:
        uri = default_tracking_uri(folder)
        Path(uri.removeprefix("sqlite:///")).write_bytes(tables)
        return uri

    return copy


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, copy_of_tables: Callable[[Path], str]
) -> Iterator[Server]:
    """A running server on a database of its own."""
    folder = tmp_path_factory.mktemp("server")
    copy_of_tables(folder)
    server = Server(folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


Make = Callable[..., Tracker]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Open trackers of a study named as the test, and end their senders with it."""
    opened: list[Tracker] = []

    def make(uri: str, **arguments: Any) -> Tracker:
        defaults: dict[str, Any] = {"study_name": request.node.name, "spool_dir": tmp_path}
        tracker = Tracker(uri, **(defaults | arguments))
        tracker.open()
        opened.append(tracker)
        return tracker

    yield make
    for tracker in opened:
        tracker.close(0)


def runs_of(uri: str, study: str, kind: str = "trial") -> list[Run]:
    """The study's runs of a kind, by root."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    # By the test's own search, not the tags' the tracker looks for.
    found = client.search_runs([experiment.experiment_id], max_results=5000)
    return sorted(
        (r for r in found if r.data.tags["study"] == study and r.data.tags["kind"] == kind),
        key=lambda r: int(r.data.tags.get("root", -1)),
    )


def run_of_root(uri: str, root: int) -> Run:
    """The one run of a trial of the long study."""
    (run,) = (r for r in runs_of(uri, "long study") if r.data.tags["root"] == str(root))
    return run


def curve(uri: str, run: Run, metric: str) -> list[tuple[int, float]]:
    history = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in history]


@pytest.fixture(scope="module")
def long_study(
    database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Tracker]]:
    """Open workers of a study whose sender serves several tests: its start takes seconds."""
    folder = tmp_path_factory.mktemp("spool")

    def worker() -> Tracker:
        tracker = Tracker(database, study_name="long study", spool_dir=folder)
        tracker.open()
        return tracker

    first = worker()
    yield worker
    first.close(0)


def train(tracker: Tracker, root: int, steps: range, *, number: int | None = None) -> None:
    tracker.trial_started(
        root, root if number is None else number, params={"dropout": 0.1}, tags={"worker": "w"}
    )
    for step in steps:
        tracker.evaluated(root, step, {"accuracy": step / 10, "loss": 1 / step})


def test_a_study_is_a_parent_run_and_a_run_per_trial(
    make: Make, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Params, metrics with the right steps, the status map, tags, note, artifact."""
    name = request.node.name
    tracker = make(
        database,
        params={"model": "mlp"},
        tags={"data": "abc123"},
        note="# A study",
        artifact_root=tmp_path / "mlartifacts",
    )
    states = ["COMPLETE", "PRUNED", "FAIL", "WAITING"]
    for root, state in enumerate(states):
        train(tracker, root, range(1, 5))
        value = 0.4 if state in ("COMPLETE", "PRUNED") else None
        tracker.trial_finished(root, root, state=state, value=value, tags={"seconds": 1.5})
    tracker.log_text(0, "true,predicted\n", "confusions.csv")
    tracker.study_progress(2, metrics={"best_value": 0.4}, tags={"best": 0}, state="COMPLETE")
    assert tracker.close(CLOSE_SECONDS) == 0

    (parent,) = runs_of(database, name, "study")
    assert (parent.info.run_name, parent.info.status) == (name, "FINISHED")
    assert parent.data.params == {"model": "mlp"}
    assert parent.data.metrics == {"best_value": 0.4}
    assert parent.data.tags["data"] == "abc123" and parent.data.tags["best"] == "0"
    assert parent.data.tags["mlflow.note.content"] == "# A study"

    runs = runs_of(database, name)
    assert [r.info.status for r in runs] == ["FINISHED", "KILLED", "FAILED", "SCHEDULED"]
    assert [r.data.tags["state"] for r in runs] == states
    assert [r.info.run_name for r in runs] == [f"trial {n}" for n in range(4)]
    assert {r.data.tags["mlflow.parentRunId"] for r in runs} == {parent.info.run_id}
    assert [r.data.metrics.get("value") for r in runs] == [0.4, 0.4, None, None]
    for number, run in enumerate(runs):
        assert run.data.params == {"dropout": "0.1"}
        assert curve(database, run, "accuracy") == [(k, k / 10) for k in range(1, 5)]
        tags = {k: run.data.tags[k] for k in ("worker", "seconds", "trial", "root", "attempts")}
        expected = {"worker": "w", "seconds": "1.5", "attempts": "1"}
        assert tags == {**expected, "trial": str(number), "root": str(number)}
    artifacts = MlflowClient(database).list_artifacts(runs[0].info.run_id)
    assert [file.path for file in artifacts] == ["confusions.csv"]


def test_a_retried_trial_continues_its_run_without_a_step_twice(
    database: str, long_study: Callable[[], Tracker]
) -> None:
    # Each attempt goes on from a checkpoint two steps before the last one's end.
    for number, first_step in [(100, 1), (101, 2), (105, 3), (109, 7)]:
        tracker = long_study()
        train(tracker, 100, range(first_step, first_step + 3), number=number)
        if number == 109:
            tracker.trial_finished(100, number, state="COMPLETE", value=0.9)
        else:
            tracker.trial_finished(100, number, state="WAITING")
        assert tracker.close(CLOSE_SECONDS) == 0

    run = run_of_root(database, 100)
    assert [step for step, _ in curve(database, run, "loss")] == [1, 2, 3, 4, 5, 7, 8, 9]
    assert (run.info.status, run.data.tags["attempts"]) == ("FINISHED", "4")
    assert (run.data.tags["trial"], run.data.tags["root"]) == ("109", "100")


def test_an_overtaken_attempt_changes_neither_state_nor_tags(
    database: str, long_study: Callable[[], Tracker]
) -> None:
    tracker = long_study()
    train(tracker, 200, range(1, 3), number=204)
    tracker.trial_finished(200, 204, state="COMPLETE", value=0.5)
    train(tracker, 200, range(1, 3), number=200)
    tracker.trial_finished(200, 200, state="FAIL")
    assert tracker.close(CLOSE_SECONDS) == 0

    run = run_of_root(database, 200)
    assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "COMPLETE")
    assert (run.data.tags["trial"], run.data.tags["attempts"]) == ("204", "1")


def test_a_worker_that_adds_no_trial_leaves_the_end_of_the_study_where_it_was(
    make: Make, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.name

    def worker(*, trials: int) -> Path:
        tracker = make(database)
        for root in range(trials):
            train(tracker, root, range(1, 2))
            tracker.trial_finished(root, root, state="COMPLETE", value=0.5)
        tracker.study_progress(trials, state="COMPLETE")
        assert tracker.close(CLOSE_SECONDS) == 0
        return tracker._folder

    folder = worker(trials=1)
    (first,) = runs_of(database, name, "study")
    worker(trials=0)
    # Known here, so nothing is sent at all; without what is known here, as from another machine:
    assert tracking_spool.journals(folder) == []
    for status in folder.glob("sender.json"):
        status.unlink()
    worker(trials=0)
    (again,) = runs_of(database, name, "study")
    assert again.info.status == "FINISHED"
    assert again.info.end_time == first.info.end_time


def test_what_arrives_after_the_end_of_the_study_does_not_open_it_again(
    database: str, tmp_path: Path
) -> None:
    """Another machine's events may wait there while the study ends."""
    event = {"event": "study", "study_name": "late", "study_key": "late", "params": {}}
    study = {**event, "experiment": EXPERIMENT, "tags": {}, "note": None, "time": 1_000}
    runs = StudyRuns(database, study)
    nothing: dict[str, Any] = {"metrics": {}, "tags": {}, "note": None}
    started = {"event": "started", "params": {}, "tags": {}}
    progress = {"event": "progress", "step": 1, **nothing}
    runs.apply({**started, "root": 0, "number": 0, "time": 2_000})
    runs.apply({**progress, "state": "COMPLETE", "time": 5_000})
    runs.apply({**started, "root": 1, "number": 1, "time": 3_000})
    runs.apply({**progress, "state": "WAITING", "time": 6_000})
    (parent,) = runs_of(database, "late", "study")
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", 5_000)
    # A trial that starts after the end does.
    runs.apply({**started, "root": 2, "number": 2, "time": 7_000})
    runs.apply({**progress, "state": "COMPLETE", "time": 8_000})
    (parent,) = runs_of(database, "late", "study")
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", 8_000)


def test_every_run_says_which_data_and_code_it_is_of(
    make: Make, database: str, request: pytest.FixtureRequest
) -> None:
    tracker = make(database, tags={"data_fingerprint": "abc", "code_version": "1.2"})
    train(tracker, 0, range(1, 2))
    assert tracker.close(CLOSE_SECONDS) == 0
    name = request.node.name
    for run in runs_of(database, name, "study") + runs_of(database, name):
        tags = run.data.tags
        assert (tags["study"], tags["data_fingerprint"], tags["code_version"]) == (
            name, "abc", "1.2",
        )  # fmt: skip


def test_awkward_values_are_kept_where_they_can_be(
    database: str, long_study: Callable[[], Tracker]
) -> None:
    """Beyond MLflow's limits on counts and lengths, no numbers, what its names do not allow."""
    tracker = long_study()
    params = {f"p{k}": k for k in range(150)} | {"text": "x" * 7000}
    tracker.trial_started(300, 300, params=params, tags={f"t{k}": k for k in range(150)})
    tracker.evaluated(300, 1, {f"m{k}": float(k) for k in range(1100)})
    tracker.evaluated(300, 2, {"loss": float("nan"), "m0": float("inf"), "m1": 7.0})
    tracker.evaluated(300, 3, {"is it a name?": 1.0, "m1": 7.5})
    tracker.evaluated(300, 4, {"../up": 1.0})
    tracker.log_artifact(300, Path("/nowhere/at/all"))
    tracker.trial_finished(300, 300, state="COMPLETE", value=1.0)
    assert tracker.close(CLOSE_SECONDS) == 0

    run = run_of_root(database, 300)
    assert run.info.status == "FINISHED"
    assert len(run.data.params) == 151 and len(run.data.params["text"]) == 6000
    assert run.data.tags["t149"] == "149"
    assert run.data.metrics["is it a name_"] == 1.0 == run.data.metrics["_.._up"]
    assert "loss" not in run.data.metrics
    assert "at step 2" in run.data.tags["not_finite"]
    assert [step for step, _ in curve(database, run, "m1")] == [1, 2, 3]
    assert curve(database, run, "m1099") == [(1, 1099.0)]


def test_an_event_that_mlflow_refuses_is_left_out_and_holds_up_nothing(
    database: str, long_study: Callable[[], Tracker]
) -> None:
    tracker = long_study()
    tracker.trial_started(400, 400, params={})
    tracker.evaluated(400, 1, {"loss": None})  # type: ignore[dict-item]
    tracker.trial_finished(400, 400, state="COMPLETE", value=1.0)
    train(tracker, 401, range(1, 3))
    assert tracker.close(CLOSE_SECONDS) == 0
    assert run_of_root(database, 400).info.status == "FINISHED"
    assert len(curve(database, run_of_root(database, 401), "loss")) == 2


def test_two_studies_of_one_name_are_told_apart_by_their_key(
    make: Make, database: str, long_study: Callable[[], Tracker]
) -> None:
    other = make(database, study_name="long study", study_key="it's another/one")
    for tracker in (other, long_study()):
        train(tracker, 500, range(1, 2))
        assert tracker.close(CLOSE_SECONDS) == 0
    parents = runs_of(database, "long study", "study")
    runs = [r for r in runs_of(database, "long study") if r.data.tags["root"] == "500"]
    assert len(parents) == len(runs) == 2
    assert {r.data.tags["mlflow.parentRunId"] for r in runs} == {p.info.run_id for p in parents}


def test_a_copy_writes_runs_of_its_own_that_name_those_of_its_original(
    make: Make, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    original = make(database, study_key="original")
    train(original, 0, range(1, 3))
    original.trial_finished(0, 0, state="WAITING")
    original.close(CLOSE_SECONDS)
    before = runs_of(database, request.node.name)[0]
    page = runs_page(database, tmp_path, "copy", "original")
    assert "/#/experiments/1/" in page

    copy = make(database, study_key="copy", tags={ORIGIN_KEY_ATTR: "original"})
    train(copy, 0, range(3, 5), number=1)
    copy.trial_finished(0, 1, state="COMPLETE", value=0.4)
    copy.study_progress(1, state="COMPLETE")
    copy.close(CLOSE_SECONDS)
    runs = {run.data.tags["study_key"]: run for run in runs_of(database, request.node.name)}
    assert runs["original"].to_dictionary() == before.to_dictionary()
    assert runs["copy"].data.tags["origin_key"] == "original"
    assert [step for step, _ in curve(database, runs["copy"], "accuracy")] == [3, 4]
    parents = {
        run.data.tags["study_key"]: run for run in runs_of(database, request.node.name, "study")
    }
    assert parents["copy"].data.tags["origin_key"] == "original"
    assert parents["original"].info.status == "RUNNING"
    assert runs_page(database, tmp_path, "copy") == page


def test_what_a_killed_worker_wrote_arrives_with_the_next_one(
    make: Make, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from search.tracking.client import Tracker\n"
        "t = Tracker(sys.argv[1], study_name=sys.argv[2], spool_dir=pathlib.Path(sys.argv[3]))\n"
        "t.open()\n"
        "t.trial_started(0, 0, params={})\n"
        "[t.evaluated(0, step, {'loss': 1.0}) for step in (1, 2, 3)]\n"
        "os.kill(os.getpid(), 9)\n"
    )
    name = request.node.name
    worker = subprocess.run(
        [sys.executable, "-c", code, database, name, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert worker.returncode == -9
    (journal,) = tracking_spool.journals(tmp_path / make(database)._folder.name)[:1]
    with journal.open("ab") as file:
        file.write(b'{"event": "evaluated", "root": 0, "st')  # killed in mid-write
    tracker = make(database)
    train(tracker, 0, range(3, 6), number=1)
    assert tracker.close(CLOSE_SECONDS) == 0

    (run,) = runs_of(database, name)
    assert [step for step, _ in curve(database, run, "loss")] == [1, 2, 3, 4, 5]
    assert run.data.tags["attempts"] == "2"


def test_an_unreachable_server_costs_no_time_and_gets_everything_later(
    make: Make, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Away for the whole run, then two replays: the same runs, no step twice."""
    name, lines = request.node.name, []
    uri = f"http://user:secret@127.0.0.1:{free_port()}"
    tracker = make(uri, notify=lines.append)
    for root in range(3):
        train(tracker, root, range(1, 101))
        tracker.trial_finished(root, root, state="COMPLETE", value=0.1 * root)
    for _ in range(100):
        if lines:
            break
        time.sleep(0.1)
    spool = tracker._folder
    # 307 of these, and the study's; waiting for it would take all of these seconds.
    started_at = time.monotonic()
    assert tracker.close(CLOSE_SECONDS) == 307
    assert time.monotonic() - started_at < CLOSE_SECONDS / 2
    assert len(lines) == 2 and "is away" in lines[0] and str(spool) in lines[1]
    assert "secret" not in "".join(lines)
    assert "secret" not in "".join(file.read_text() for file in spool.iterdir())

    # The sender is told to send it all again, as if it had died before it noted its progress.
    copies = {file: file.read_bytes() for file in tracking_spool.journals(spool)}
    for _ in range(2):
        assert make(database).close(CLOSE_SECONDS) == 0
        # That was its own one; the sender may still be at the others'.
        wait_for(lambda: not tracking_spool.journals(spool))
        runs = runs_of(database, name)
        assert [r.info.status for r in runs] == ["FINISHED"] * 3
        assert [r.data.metrics["value"] for r in runs] == pytest.approx([0.0, 0.1, 0.2])
        for run in runs:
            assert curve(database, run, "loss") == [(k, 1 / k) for k in range(1, 101)]
        for file, content in copies.items():
            file.write_bytes(content)


def test_a_server_that_comes_up_during_the_run_gets_what_it_missed(
    make: Make, server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A forwarder stands for the server's network: it can be cut without a new start."""
    lines: list[str] = []
    port = free_port()
    tracker = make(f"http://127.0.0.1:{port}", notify=lines.append)
    train(tracker, 0, range(1, 4))
    wait_for(lambda: len(lines) == 1)
    with forwarded(port, server.port):
        train(tracker, 1, range(1, 4))
        wait_for(lambda: len(lines) == 2)
        tracker.trial_finished(1, 1, state="PRUNED", value=0.2)
        assert tracker.close(CLOSE_SECONDS) == 0
    assert "is away" in lines[0] and "is back" in lines[1]
    runs = runs_of(server.uri, request.node.name)
    assert [r.info.status for r in runs] == ["RUNNING", "KILLED"]
    assert [len(curve(server.uri, run, "loss")) for run in runs] == [3, 3]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 2 * CLOSE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)


class forwarded:  # noqa: N801
    """Pass connections on from one local port to another."""

    def __init__(self, port: int, target: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._target = target

    def __enter__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with source:
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:  # the other direction has ended both
                return


def start_at_once(uris: list[str], spools: list[Path], name: str) -> None:
    """Workers as processes, each with a trial of its own; all have to end well."""
    code = (
        "import sys, pathlib\n"
        "from search.tracking.client import Tracker\n"
        "uri, name, spool, number = sys.argv[1:]\n"
        "t = Tracker(uri, study_name=name, spool_dir=pathlib.Path(spool))\n"
        "t.open()\n"
        "t.trial_started(int(number), int(number), params={'x': 1})\n"
        "t.evaluated(int(number), 1, {'loss': 1.0})\n"
        "t.trial_finished(int(number), int(number), state='COMPLETE', value=1.0)\n"
        "sys.exit(t.close(60) != 0)\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, uri, name, str(spool), str(number)],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        for number, (uri, spool) in enumerate(zip(uris, spools, strict=True))
    ]
    assert [worker.wait() for worker in workers] == [0] * len(workers)


def test_workers_that_start_at_once_on_an_empty_database_share_one_parent(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri, name = default_tracking_uri(tmp_path / "a folder, ñ"), request.node.name
    start_at_once([uri] * 8, [tmp_path / "spool"] * 8, name)
    assert len(runs_of(uri, name, "study")) == 1
    assert len(runs_of(uri, name)) == 8
    # One process served them all, and went with them.
    (folder,) = (tmp_path / "spool").iterdir()
    wait_for(lambda: not tracking_spool.journals(folder))
    wait_for(lambda: not tracking_spool.sender_runs(folder))


def test_machines_that_start_at_once_on_a_server_share_one_parent(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each has a spool of its own, and so a sender of its own."""
    name = request.node.name
    start_at_once([server.uri] * 3, [tmp_path / str(k) for k in range(3)], name)
    (parent,) = runs_of(server.uri, name, "study")
    runs = runs_of(server.uri, name)
    assert [r.data.tags["mlflow.parentRunId"] for r in runs] == [parent.info.run_id] * 3


def finish(tracker: Tracker, root: int) -> None:
    train(tracker, root, range(1, 3))
    tracker.trial_finished(root, root, state="COMPLETE", value=0.5)


@pytest.mark.parametrize("beginning", [b'{"event": "stu\n', b""], ids=["torn", "missing"])
def test_a_file_without_its_beginning_is_sent_by_what_another_says_of_the_study(
    make: Make, database: str, request: pytest.FixtureRequest, beginning: bytes
) -> None:
    """As earlier versions left it, where the disk was full when they began it."""
    name = request.node.name
    tracker = make(database)
    file = tracker._folder / "1-host-1-abcdef.jsonl"
    finished = {"event": "finished", "state": "COMPLETE", "value": 0.5, "tags": {}}
    events: list[dict[str, Any]] = [
        {"event": "started", "params": {"dropout": 0.1}, "tags": {}},
        {"event": "evaluated", "step": 1, "metrics": {"loss": 0.5}},
        finished,
    ]
    lines = (json.dumps({**event, "root": 7, "number": 7, "time": 9_000}) for event in events)
    file.write_bytes(beginning + "".join(f"{line}\n" for line in lines).encode())
    finish(tracker, 8)
    assert tracker.close(CLOSE_SECONDS) == 0
    wait_for(lambda: not tracking_spool.journals(tracker._folder))
    assert [r.info.status for r in runs_of(database, name)] == ["FINISHED"] * 2
    assert curve(database, runs_of(database, name)[0], "loss") == [(1, 0.5)]


def test_a_file_that_no_other_explains_is_left_alone(make: Make, database: str) -> None:
    """Nor is it waited for; and one that cannot be read holds up no other."""
    lines: list[str] = []
    tracker = make(database, notify=lines.append)
    folder = tracker._folder
    (folder / "1-host-1-abcdef.jsonl").mkdir()  # as unreadable for root as for others
    finish(tracker, 1)
    assert tracker.close(CLOSE_SECONDS) == 0
    wait_for(lambda: not tracking_spool.sender_runs(folder))
    assert [file.name for file in tracking_spool.journals(folder)] == ["1-host-1-abcdef.jsonl"]
    assert [line for line in lines if "are left alone (1-host-1-abcdef.jsonl: " in line]
    (folder / "1-host-1-abcdef.jsonl").rmdir()
    alone = folder / "2-host-1-abcdef.jsonl"
    alone.write_text('{"event": "started", "root": 0, "number": 0, "time": 1}\n')
    Sender(folder, database).run()
    assert alone.exists()


def test_artifacts_without_a_place_hold_up_nothing_and_are_sent_when_there_is_one(
    make: Make, copy_of_tables: Callable[[Path], str], tmp_path: Path, request: Any
) -> None:
    """A server that leaves artifacts to its clients, which cannot write where it says."""
    name, lines = request.node.name, []
    copy_of_tables(tmp_path)
    file = tmp_path / "file"
    file.touch()
    server = Server(tmp_path, clients_write_to=file / "artifacts")
    server.start()
    try:
        server.wait()
        tracker = make(server.uri, notify=lines.append)
        finish(tracker, 0)
        tracker.log_text(0, "true,predicted\n", "confusions.csv")
        tracker.log_text(None, "all\n", "study.txt")
        finish(tracker, 1)
        # Not by `close`, which does not wait for a slow server that was taken for one away.
        wait_for(lambda: [r.info.status for r in runs_of(server.uri, name)] == ["FINISHED"] * 2)
        wait_for(lambda: any("artifacts" in line for line in lines))
        assert tracker.close(CLOSE_SECONDS) == 0
        (line,) = [line for line in lines if "artifacts" in line]
        assert "no place for artifacts" in line and "Not a directory" in line
        assert "let this user write there" in line and str(tracker._folder) in line

        file.unlink()
        again = make(server.uri)
        finish(again, 2)
        wait_for(lambda: len(runs_of(server.uri, name)) == 3)
        wait_for(lambda: not tracking_spool.read_later(again._folder))
        client = MlflowClient(server.uri)
        (parent,) = runs_of(server.uri, name, "study")
        runs = [parent, *runs_of(server.uri, name)]
        found = [client.list_artifacts(run.info.run_id) for run in runs]
        assert [[f.path for f in files] for files in found] == [
            ["study.txt"], ["confusions.csv"], [], [],
        ]  # fmt: skip
    finally:
        server.stop()


def test_what_comes_while_the_experiment_is_deleted_is_sent_when_it_is_restored(
    make: Make, copy_of_tables: Callable[[Path], str], tmp_path: Path, request: Any
) -> None:
    name, lines = request.node.name, []
    uri = copy_of_tables(tmp_path)
    client = MlflowClient(uri)
    tracker = make(uri, notify=lines.append)
    finish(tracker, 0)
    wait_for(lambda: [r.info.status for r in runs_of(uri, name)] == ["FINISHED"])
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    finish(tracker, 1)
    wait_for(lambda: bool(lines))
    restore = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore -x {experiment.experiment_id}"
    assert "is away" in lines[0] and restore in lines[0]
    client.restore_experiment(experiment.experiment_id)
    finish(tracker, 2)
    wait_for(lambda: "is back" in lines[-1])
    assert tracker.close(CLOSE_SECONDS) == 0
    assert [line for line in lines if "refuses" in line] == []
    runs = runs_of(uri, name)
    assert [r.data.tags["root"] for r in runs] == ["0", "1", "2"]
    assert [r.info.status for r in runs] == ["FINISHED"] * 3
    assert [curve(uri, run, "loss") for run in runs] == [[(1, 1.0), (2, 0.5)]] * 3


def test_what_comes_while_the_database_is_read_only_is_sent_when_it_is_not(
    make: Make, postgres: Any, request: Any
) -> None:
    """A failover: for a while connections reach a server that takes no writes."""
    name, lines = request.node.name, []
    url: str = postgres.new_database()
    database = url.rpartition("/")[2]
    MlflowClient(url).search_experiments()  # its tables, created here: that takes long
    tracker = make(url, notify=lines.append)
    finish(tracker, 0)
    wait_for(lambda: [r.info.status for r in runs_of(url, name)] == ["FINISHED"])
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for read_only in ("on", "off"):
            connection.execute(
                f'ALTER DATABASE "{database}" SET default_transaction_read_only = {read_only}'
            )
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()", [database],
            )  # fmt: skip
            if read_only == "on":
                connection.execute("SET default_transaction_read_only = off")
                finish(tracker, 1)
                wait_for(lambda: bool(lines))
    wait_for(lambda: "is back" in lines[-1])
    assert tracker.close(CLOSE_SECONDS) == 0
    assert "read-only transaction" in lines[0] and not [x for x in lines if "refuses" in x]
    runs = runs_of(url, name)
    assert [r.info.status for r in runs] == ["FINISHED"] * 2
    assert [len(curve(url, run, "loss")) for run in runs] == [2, 2]


def test_trials_that_ended_without_their_workers_word_end_in_mlflow(
    make: Make, database: str, tmp_path: Path, request: Any
) -> None:
    """Workers that died, whose trials others gave up, put back or had; and a cancelled trial."""
    name = request.node.name
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    set_budget(storage, study._study_id, n_trials=10)
    tracker = make(database)

    def taken() -> Claim:
        claimed = claim(storage, study._study_id, token=uuid.uuid4().hex, worker="w")
        assert isinstance(claimed, Claim)
        train(tracker, claimed.root, range(1, 3), number=claimed.number)
        return claimed

    claims = [taken() for _ in range(4)]
    for claimed, most in zip(claims, (1, 3), strict=False):
        release(storage, claimed.trial_id, reason="no sign of life", max_failures=most)
    storage.set_trial_state_values(claims[2].trial_id, TrialState.COMPLETE, [0.7])
    tracker.close(CLOSE_SECONDS)  # and the worker dies before it has told of any end
    assert [r.info.status for r in runs_of(database, name)] == ["RUNNING"] * 4

    def states(tell: Callable[[Ends], None]) -> list[str]:
        again = make(database)
        tell(Ends(again))
        assert again.close(CLOSE_SECONDS) == 0
        return [r.info.status for r in runs_of(database, name)]

    told = states(lambda ends: ends.tell_all(study.get_trials()))
    assert told == ["FAILED", "SCHEDULED", "FINISHED", "RUNNING"]
    given_up, _, complete, _ = runs_of(database, name)
    assert complete.data.metrics["value"] == 0.7 and given_up.data.tags["state"] == "FAIL"
    ended_at = study.get_trials()[0].datetime_complete
    assert ended_at is not None
    assert given_up.info.end_time == int(ended_at.timestamp() * 1000)

    waiting = next(t for t in study.get_trials() if t.state == TrialState.WAITING)
    cancel(storage, study._study_id, waiting.number)
    told = states(lambda ends: ends.tell(study.get_trials()))
    assert told == ["FAILED", "FAILED", "FINISHED", "RUNNING"]
    storage.close()


def test_what_is_known_of_an_older_attempt_does_not_end_a_newer_one(
    database: str, long_study: Callable[[], Tracker]
) -> None:
    tracker = long_study()
    train(tracker, 600, range(1, 3), number=603)
    tracker.trial_states({600: (600, "FAIL", None, 1_000)})
    assert tracker.close(CLOSE_SECONDS) == 0
    assert run_of_root(database, 600).info.status == "RUNNING"


def test_a_study_that_had_ended_hears_of_a_trial_that_was_cancelled_since(
    make: Make, database: str, request: Any
) -> None:
    """Nothing else came to it; the second time there is nothing to send."""
    name = request.node.name
    tracker = make(database)
    finish(tracker, 0)
    train(tracker, 1, range(1, 3))
    tracker.trial_finished(1, 1, state="WAITING")
    tracker.trial_states({1: (1, "WAITING", None, 1_000)}, of_all=True)
    tracker.study_progress(1, state="COMPLETE")
    assert tracker.close(CLOSE_SECONDS) == 0
    for _ in range(2):
        again = make(database)
        again.trial_states({1: (2, "FAIL", None, 1_000)}, of_all=True)
        again.study_progress(1, state="COMPLETE")
        assert again.close(CLOSE_SECONDS) == 0
        assert [r.info.status for r in runs_of(database, name)] == ["FINISHED", "FAILED"]
    assert tracking_spool.journals(again._folder) == []


def test_what_is_still_being_sent_is_no_news_of_a_fault(make: Make, server: Server) -> None:
    lines: list[str] = []
    remarks: list[str] = []
    tracker = make(server.uri, notify=lines.append, remark=remarks.append)
    finish(tracker, 0)
    assert tracker.close(0.0) > 0
    assert lines == [] and "still being sent" in remarks[0]


def test_the_sender_imports_nothing_from_the_working_folder(
    make: Make, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    for package in ("search", "mlflow", "data_utils"):
        (tmp_path / "strange" / package).mkdir(parents=True)
        (tmp_path / "strange" / package / "__init__.py").write_text(f"open({str(run)!r}, 'w')")
    monkeypatch.chdir(tmp_path / "strange")
    tracker = make(database)
    finish(tracker, 0)
    assert tracker.close(CLOSE_SECONDS) == 0
    assert not run.exists()


def test_a_model_that_mlflow_would_not_take_is_refused_before_it_is_trained(
    copy_of_tables: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = copy_of_tables(tmp_path)
    client = MlflowClient(uri)
    (tmp_path / "file").touch()
    client.create_experiment(EXPERIMENT, f"file://{tmp_path}/file/artifacts")
    with pytest.raises(SearchError, match="which cannot be written from here"):
        check_registry("m", uri, tmp_path, storage_url=None)
    (tmp_path / "file").unlink()
    assert check_registry("m", uri, tmp_path, storage_url=None) == uri
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(SearchError, match="takes no model: its experiment") as caught:
        check_registry("m", None, tmp_path, storage_url=None)
    assert f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore" in str(caught.value)
    with pytest.raises(SearchError, match="both name the database"):
        check_registry("m", uri, tmp_path, storage_url=uri)


def test_no_tracking_uri_tracks_nothing(tmp_path: Path) -> None:
    tracker = Tracker(None, study_name="s", spool_dir=tmp_path / "spool")
    tracker.open()
    train(tracker, 0, range(1, 3))
    assert tracker.close() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", "is no address for MLflow"),
        ("file:///tmp/mlruns", "is no address for MLflow"),
        ("htp://user:secret@host", r"'htp://user:\*\*\*@host' is no address"),
        ("htp://host?password=secret", "'htp://host\\?password=\\*\\*\\*' is no address"),
        ("http://", "is no address"),
        ("http://:5000", "names no host"),
        ("http://host:port", "names no host and port"),
        ("http://u:secret#1@host:5000", r"'http://u:\*\*\*@host:5000' names no host and port"),
        ("http://u:secret[1@host:5000", "special characters of a password as %XX"),
        ("postgresql://u:secret/1@host", "special characters of a password as %XX"),
        ("sqlite:////", "is a folder"),
    ],
)
def test_a_uri_that_cannot_be_mlflows_is_refused_in_one_line(uri: str, said: str) -> None:
    with pytest.raises(SearchError, match=said) as caught:
        checked_tracking_uri(uri)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("these are notes and no database")
    with pytest.raises(SearchError, match="is no SQLite file"):
        checked_tracking_uri(f"sqlite:///{file}")
    assert file.read_text() == "these are notes and no database"


def test_a_relative_database_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked_tracking_uri("sqlite:///m.db") == f"sqlite:///{tmp_path / 'm.db'}"


def test_a_spool_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tracker = Tracker("http://127.0.0.1:1", study_name="s", spool_dir=tmp_path / "file")
    with pytest.raises(SearchError, match="cannot write tracking events"):
        tracker.open()
