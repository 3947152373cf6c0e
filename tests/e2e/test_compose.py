"""The whole of docker-compose.yml on a real engine, with a killed worker and a stopped database.

Minutes: building the image takes most of them the first time. Without an engine that answers all
is skipped.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.compose

ROOT = Path(__file__).parents[2]
IMAGE = "title-search-test"
STUDY = "compose-test"
GRACE_SECONDS = 60
# Some seconds a trial, so that there is something to kill.
ARGS = "--sample 30000 --epochs 30 --dim 64 --pruner none --sampler random"
LONG_RUNNING = {"postgres", "mlflow", "dashboard", "study", "worker"}

TRIALS = """
    SELECT json_build_object(
        'number', number,
        'state', state,
        'attributes', (SELECT json_object_agg(key, value_json::json)
                       FROM trial_user_attributes a WHERE a.trial_id = t.trial_id),
        'steps', (SELECT array_agg(step ORDER BY step)
                  FROM trial_intermediate_values v WHERE v.trial_id = t.trial_id))
    FROM trials t JOIN studies USING (study_id) WHERE study_name = 'compose-test' ORDER BY number
"""


def run(*command: str | Path, environment: dict[str, str], check: bool = True) -> str:
    done = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@dataclass
class Stack:
    """The services of docker-compose.yml, under a project of their own."""

    environment: dict[str, str]

    def docker(self, *arguments: str, check: bool = True) -> str:
        return run("docker", *arguments, environment=self.environment, check=check)

    def compose(self, *arguments: str, check: bool = True) -> str:
        # Not the developer's .env.
        options = ["--project-name", IMAGE, "--env-file", os.devnull]
        return self.docker("compose", *options, *arguments, check=check)

    def up(self, trials: int, *arguments: str) -> None:
        self.environment["TRIALS"] = str(trials)
        self.compose("up", "--detach", "--no-build", *arguments)

    def containers(self, *services: str) -> list[dict[str, Any]]:
        names = self.compose("ps", "--all", "--quiet", *services).split()
        return json.loads(self.docker("inspect", *names)) if names else []

    def trials(self) -> list[dict[str, Any]]:
        """Those of the study in order; none while the database is away."""
        psql = ["exec", "-T", "postgres", "psql", "-U", "search", "-Atc", TRIALS]
        return [json.loads(line) for line in self.compose(*psql, check=False).splitlines()]

    def running(self, host: str = "") -> list[dict[str, Any]]:
        """Trials in flight, on this host or on all."""
        return [
            trial
            for trial in self.trials()
            if trial["state"] == "RUNNING" and trial["attributes"]["worker"].startswith(host)
        ]

    def get(self, port: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://localhost:{self.environment[port]}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def wait_until(self, what: str, holds: Callable[[], bool], seconds: float = 300.0) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"not within {seconds} s: {what}\n{self.report()}"
            time.sleep(0.3)

    def wait_for_the_end(self) -> None:
        def ended() -> bool:
            states = [c["State"]["Status"] for c in self.containers("study", "worker")]
            return set(states) == {"exited"}

        self.wait_until("the study and its workers end", ended, seconds=420.0)

    def report(self) -> str:
        return self.compose("ps", "--all") + self.compose("logs", "--tail=40", "study", "worker")


@dataclass
class FirstRun:
    """What was seen of ten trials through a killed worker and a stopped database.

    All services were healthy after both.
    """

    processes: str
    killed: dict[str, Any]
    trials: list[dict[str, Any]]
    containers: list[dict[str, Any]]
    logs: str


@dataclass
class SecondRun:
    """The same study after ``down`` and ``up``, its workers stopped on the way."""

    trials_at_start: list[dict[str, Any]]
    stop_seconds: float
    stopped: list[dict[str, Any]]
    trials_when_stopped: list[dict[str, Any]]
    trials: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def engine() -> dict[str, str]:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    try:
        answer = subprocess.run(["docker", "version"], env=environment, capture_output=True)
    except FileNotFoundError:
        pytest.skip("Docker is not installed")
    if answer.returncode != 0:
        pytest.skip("no Docker engine answers")
    return environment


@pytest.fixture(scope="module")
def stack(engine: dict[str, str]) -> Iterator[Stack]:
    stack = Stack(
        engine
        | {
            "IMAGE": IMAGE,
            "STUDY": STUDY,
            "ARGS": ARGS,
            "DASHBOARD_PORT": free_port(),
            "MLFLOW_PORT": free_port(),
        }
    )
    stack.docker("build", "--network", "host", "--tag", f"{IMAGE}:latest", ".")
    stack.compose("down", "--volumes")
    yield stack
    stack.compose("down", "--volumes")


@pytest.fixture(scope="module")
def first(stack: Stack) -> FirstRun:
    stack.up(10, "--scale", "worker=2")
    worker = stack.containers("worker")[0]
    host = worker["Config"]["Hostname"] + ":"

    saved = "find /runs -name 'trial-*-step-*.pt'"

    def checkpointed() -> list[dict[str, Any]]:
        files = stack.docker("exec", worker["Id"], "sh", "-c", saved, check=False)
        roots = {int(root) for root in re.findall(r"/trial-(\d+)-step", files)}
        return [t for t in stack.running(host) if t["attributes"]["root"] in roots]

    stack.wait_until("a worker has saved a checkpoint", lambda: bool(checkpointed()))
    killed = stack.running(host)[0]
    # Not `docker kill`, after which Docker starts nothing again: the process, as if out of memory.
    kill = "kill -9 $(cat /proc/1/task/1/children)"
    stack.docker("exec", worker["Id"], "sh", "-c", kill, check=False)
    stack.compose("stop", "postgres")
    time.sleep(10.0)
    stack.compose("start", "postgres")
    # Nobody ends before a minute has passed, after which the killed worker's trial is taken up.
    stack.wait_until(
        "all are healthy",
        lambda: all(
            c["State"]["Health"]["Status"] == "healthy" for c in stack.containers(*LONG_RUNNING)
        ),
        seconds=90.0,
    )
    processes = "".join(
        stack.docker("top", c["Id"], "-eo", "pid,args")
        for c in stack.containers(*LONG_RUNNING)
        if c["State"]["Running"]
    )
    stack.wait_for_the_end()
    return FirstRun(
        processes=processes,
        killed=killed,
        trials=stack.trials(),
        containers=stack.containers(),
        logs=stack.compose("logs"),
    )


@pytest.fixture(scope="module")
def second(stack: Stack, first: FirstRun) -> SecondRun:
    stack.compose("down")
    stack.compose("up", "--detach", "--no-build", "--wait", "dashboard")
    at_start = stack.trials()
    stack.up(16, "--scale", "worker=2")
    stack.wait_until(
        "trials run", lambda: any(len(trial["steps"] or []) > 1 for trial in stack.running())
    )
    began = time.monotonic()
    stack.compose("stop", "study", "worker")
    run = SecondRun(
        trials_at_start=at_start,
        stop_seconds=time.monotonic() - began,
        stopped=stack.containers("study", "worker"),
        trials_when_stopped=stack.trials(),
    )
    stack.up(16, "--scale", "worker=2")
    stack.wait_for_the_end()
    run.trials = stack.trials()
    return run


def finished(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [trial for trial in trials if trial["state"] in ("COMPLETE", "PRUNED")]


def states(trials: list[dict[str, Any]]) -> Counter[str]:
    return Counter(trial["state"] for trial in trials)


def test_compose_accepts_the_gpu_file(stack):
    files = ["--file", "docker-compose.yml", "--file", "docker-compose.gpu.yml"]
    images = stack.compose(*files, "config", "--images").split()
    assert images.count(f"{IMAGE}:gpu") == 2


def test_ten_trials_are_exactly_ten(first):
    assert len(finished(first.trials)) == 10
    assert set(states(first.trials)) <= {"COMPLETE", "PRUNED", "FAIL"}


def test_the_launch_and_the_workers_end_well(first):
    ended = {c["Name"]: c["State"]["ExitCode"] for c in first.containers}
    assert {name: code for name, code in ended.items() if code} == {}


def test_a_killed_worker_is_started_again(first):
    restarts = [
        c["RestartCount"]
        for c in first.containers
        if c["Config"]["Labels"]["com.docker.compose.service"] == "worker"
    ]
    # Twice when the database was away as it came back: a worker that starts does not wait for it.
    assert min(restarts) == 0
    assert max(restarts) in (1, 2)


def test_the_trial_of_a_killed_worker_goes_on_from_its_checkpoint(first):
    root = first.killed["attributes"]["root"]
    attempts = [t for t in first.trials if t["attributes"]["root"] == root]
    assert attempts[0]["state"] == "FAIL"
    assert attempts[-1]["state"] == "COMPLETE"
    assert attempts[1]["attributes"]["retry_of"] == first.killed["number"]
    assert attempts[1]["attributes"]["resumed_from"] > 0


def test_the_dashboard_shows_the_study(stack, first):
    summaries = stack.get("DASHBOARD_PORT", "/api/studies")["study_summaries"]
    (study,) = [s for s in summaries if s["study_name"] == STUDY]
    detail = stack.get("DASHBOARD_PORT", f"/api/studies/{study['study_id']}?after=0")
    assert len([t for t in detail["trials"] if t["state"] in ("Complete", "Pruned")]) == 10


def test_mlflow_shows_a_finished_run_for_each_trial(stack, first):
    found = stack.get("MLFLOW_PORT", "/api/2.0/mlflow/experiments/search", {"max_results": 100})
    body = {"experiment_ids": [e["experiment_id"] for e in found["experiments"]]}
    runs = stack.get("MLFLOW_PORT", "/api/2.0/mlflow/runs/search", body | {"max_results": 1000})
    tags = [{t["key"]: t["value"] for t in r["data"].get("tags", [])} for r in runs["runs"]]
    trials = [
        run["info"]["status"]
        for run, tag in zip(runs["runs"], tags, strict=True)
        if "mlflow.parentRunId" in tag
    ]
    assert trials == ["FINISHED"] * 10


def test_the_report_can_be_copied_out(stack, first, tmp_path):
    stack.compose("cp", "study:/runs/reports", str(tmp_path))
    assert STUDY in (tmp_path / "reports" / f"{STUDY}.html").read_text("utf-8")


def test_containers_run_without_root_on_a_read_only_file_system(first):
    for container in first.containers:
        assert container["HostConfig"]["ReadonlyRootfs"] is True
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        if container["Config"]["Image"].startswith(IMAGE):
            assert container["Config"]["User"] == "10001:10001"


def test_pages_are_published_on_localhost_alone(first):
    published = [
        binding["HostIp"]
        for container in first.containers
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    ]
    assert published == ["127.0.0.1"] * 2


def test_the_password_is_in_no_process_log_or_description(stack, first):
    password = stack.compose("exec", "-T", "mlflow", "cat", "/secrets/password").strip()
    assert len(password) > 30
    assert password not in first.processes
    assert password not in first.logs
    assert password not in json.dumps(first.containers)


def test_down_and_up_keep_the_study(first, second):
    assert second.trials_at_start == first.trials


def test_stopped_workers_end_within_their_grace(second):
    assert second.stop_seconds < GRACE_SECONDS
    # 137 would be Docker's SIGKILL after the grace.
    assert {c["State"]["ExitCode"] for c in second.stopped} <= {0, 130, 143}


def test_stopped_workers_leave_nothing_running(second):
    assert states(second.trials_when_stopped)["RUNNING"] == 0
    # They were stopped on the way, not after the end.
    assert states(second.trials_when_stopped)["WAITING"] > 0


def test_more_trials_are_added_and_no_more_than_that(second):
    assert len(finished(second.trials)) == 16
    assert "RUNNING" not in states(second.trials)
