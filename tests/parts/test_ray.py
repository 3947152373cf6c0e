"""Workers on a Ray cluster of two nodes, which the tests start on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from data_utils.spec import DataSpec
from search.display.progress import Progress
from search.errors import SearchError
from search.join import JoinOptions
from search.options import SearchOptions
from search.run import _ray_fleet
from search.storage.opening import open_storage
from search.study import KEY_ATTR
from search.workers.ray_fleet import connect, join

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


class Cluster:
    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "ray_cluster.py")],
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._answer()

    def do(self, what: str) -> None:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    started = Cluster()
    yield started
    started.process.communicate(timeout=60)  # closes its standard input


def _start_driver(cluster: Cluster, fleet: Any, **options: Any) -> subprocess.Popen[str]:
    given = {"url": fleet.url, "folder": str(fleet.folder), "address": cluster.address, **options}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(HERE / "ray_driver.py"), json.dumps(given)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_node_that_dies_costs_no_trial_and_its_worker_goes_on_elsewhere(cluster, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(10)
    driver = _start_driver(cluster, fleet, workers=2, steps=10, step_seconds=0.2)
    _wait_for_workers(fleet, 2)
    cluster.do("kill")
    cluster.do("add")
    output, errors = driver.communicate(timeout=120)
    assert (driver.returncode, errors) == (0, "")
    assert fleet.states() == {"COMPLETE": 10, "FAIL": 1}
    lost, *_ = [t for t in fleet.study().get_trials() if t.state.name == "FAIL"]
    # The nodes of the test are processes of one machine, where a dead one can be told at once.
    reasons = ("its worker's process ended", "its worker gave no sign of life")
    assert lost.user_attrs["fail_reason"].startswith(reasons)
    # Both workers came to the end of the study, one of them in its second process.
    assert len(fleet.events("result")) == 2
    assert len(list(fleet.folder.glob("log-*.jsonl"))) == 3
    told = Counter(
        event["state"]
        for event in map(json.loads, output.splitlines())
        if event["event"] == "trial_finished"
    )
    assert told == {"COMPLETE": 10, "WAITING": 1}
    assert "a node of the Ray cluster is gone" in output


def test_ctrl_c_hands_all_trials_back(cluster, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(50)
    # One more than the cluster has room for.
    driver = _start_driver(cluster, fleet, workers=3, steps=20, step_seconds=0.2)
    _wait_for_workers(fleet, 2)
    driver.send_signal(signal.SIGINT)
    output, errors = driver.communicate(timeout=60)
    assert (driver.returncode, errors) == (130, "")
    states = fleet.states()
    assert states["RUNNING"] == 0 and states["WAITING"] == states["FAIL"] == 2
    assert "2 cores for 3 workers" in output


def _wait_for_workers(fleet: Any, count: int) -> None:
    # Ray starts processes of its own, which import PyTorch, beside other tests.
    fleet.wait_for("start", seconds=90.0)
    for number in range(1, 200):
        fleet.wait_for("step", count=number)
        if len({event["root"] for event in fleet.events("step")}) >= count:
            return


def test_the_search_command_runs_a_study_on_the_cluster(cluster, postgres, tmp_path):
    storage_url = postgres.new_database()
    done = _search(cluster.address, tmp_path, "--trials", "7", storage_url=storage_url)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event["event"] == "trial_finished" for event in events) == 7
    storage = open_storage(storage_url)
    (study,) = storage.get_all_studies()
    trials = storage.get_all_trials(study._study_id)
    storage.close()
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"} and len(trials) == 7
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2


def test_nodes_that_cannot_share_a_file_are_refused_it(cluster, tmp_path):
    done = _search(cluster.address, tmp_path, storage_url=f"sqlite:///{tmp_path}/study.db")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the 2 nodes of the Ray cluster cannot share" in line
    assert not (tmp_path / "study.db").exists()


def test_a_study_that_failed_ends_with_the_workers_own_status(cluster, postgres_fleet):
    fleet = postgres_fleet
    fleet.create(20)
    driver = _start_driver(cluster, fleet, workers=1, fail=True)
    _, errors = driver.communicate(timeout=120)
    assert (driver.returncode, errors) == (1, "error: the toy failed\n")


def test_a_worker_of_the_cluster_says_what_ended_it_and_how(tmp_path):
    """As ``studies.py worker`` does: 2 for another command line, 1 where the same may do later."""
    url = f"sqlite:///{tmp_path}/study.db"
    options = JoinOptions(
        study_name="s", storage_url=url, data=None, vectors=None, device="cpu", out=tmp_path,
        tracking_uri=None, wait=False, quiet=True, json=False,
    )  # fmt: skip
    failure = join(options)
    assert failure is not None and failure.exit_status == 2 and "no study" in failure.line
    lost = replace(options, storage_url="grpc://127.0.0.1:1")
    failure = join(lost)
    assert failure is not None and failure.exit_status == 2


def test_what_a_worker_is_told_names_the_users_files_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = SearchOptions(
        model="mlp", n_trials=1, timeout_seconds=None, study_name=None,
        storage_url="sqlite:///x.db", sampler="tpe", pruner="asha", max_epochs=1, seed=0,
        data=DataSpec(source="sat"), vectors=Path("v.vec"), embedding_dim=None, num_workers=1,
        device="cpu", out=Path("runs"), tracking_uri="sqlite:///m.db", quiet=True, json=False,
    )  # fmt: skip
    storage = open_storage(f"sqlite:///{tmp_path}/x.db")
    study = optuna.create_study(storage=storage)
    study.set_user_attr(KEY_ATTR, "its-key")
    told = _ray_fleet(options, study, Progress(), max_steps=1)._work.args[0]
    assert told.storage_url == f"sqlite:///{tmp_path}/x.db"
    assert told.tracking_uri == f"sqlite:///{tmp_path}/m.db"
    assert (told.out, told.vectors) == (tmp_path / "runs", tmp_path / "v.vec")
    assert told.key == "its-key"
    storage.close()


def test_databases_named_by_relative_paths_are_those_of_the_users_folder(cluster, tmp_path):
    """The cluster's processes have another one; and they import nothing from either."""
    run = tmp_path / "run"
    for package in ("search", "data_utils", "numpy"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"open({str(run)!r}, 'w')")
    cluster.do("kill")  # a file is for the nodes of one machine
    try:
        more = ["--trials", "2", "--workers", "1", "--tracking-uri", "sqlite:///m.db"]
        done = _search(
            cluster.address, tmp_path, *more, storage_url="sqlite:///x.db", cwd=tmp_path
        )
    finally:
        cluster.do("add")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "x.db") as connection:
        states = connection.execute("SELECT state FROM trials").fetchall()
    assert len(states) == 2 and {state for (state,) in states} <= {"COMPLETE", "PRUNED"}
    assert not run.exists()


TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def cluster_with_token(tmp_path_factory) -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    home = str(tmp_path_factory.mktemp("home"))
    started = Cluster(HOME=home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    yield started
    started.process.communicate(timeout=60)


@pytest.mark.parametrize(
    "environment",
    [{}, {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 32}],
    ids=["none", "mode without a token", "another token"],
)
def test_a_cluster_that_asks_for_a_token_is_one_line(cluster_with_token, tmp_path, environment):
    done = _search(
        cluster_with_token.address,
        tmp_path,
        storage_url="grpc://127.0.0.1:13000",
        HOME=str(tmp_path),
        **environment,
    )
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert "asks for a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in line
    # Ray itself tries twenty times, and says so each time.
    assert "gcs_client" not in done.stderr and "WARNING" not in done.stderr, done.stderr


def test_with_its_token_the_cluster_is_reached(cluster_with_token, tmp_path):
    """Past it the storage is refused, which two nodes cannot share."""
    done = _search(
        cluster_with_token.address,
        tmp_path,
        storage_url=f"sqlite:///{tmp_path}/study.db",
        HOME=str(tmp_path),
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=TOKEN,
    )
    assert "nodes of the Ray cluster cannot share" in done.stderr, done.stderr


def _search(
    address: str,
    folder: Path,
    *arguments: str,
    storage_url: str,
    cwd: Path = ROOT,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    words = {"A": "zapato bota sandalia tacon".split(), "B": "lampara foco luz bombilla".split()}
    rng = random.Random(3)
    rows = {" ".join(rng.sample(words[c], 3) + [f"modelo{i}"]): c for i in range(80) for c in "AB"}
    table = folder / "titles.csv"
    table.write_text("title,category\n" + "".join(f"{t},{c}\n" for t, c in rows.items()))
    script = str(ROOT / "studies.py")
    command = [sys.executable, script, "--launcher", "ray", "--ray-address", address]
    command += ["--workers", "2", "--data", str(table), "--dim", "16", "--epochs", "1", "--json"]
    return subprocess.run(
        [*command, "--out", str(folder / "runs"), *arguments],
        cwd=cwd,
        env={**os.environ, "STORAGE_URL": storage_url, **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_no_cluster_at_the_address_is_one_line():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    with pytest.raises(SearchError, match="no Ray cluster answers at 127.0.0.1:1 "):
        connect("127.0.0.1:1", "grpc://127.0.0.1:13000")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SearchError, match=r"pip install '\.\[ray\]'"):
        connect(None, "grpc://127.0.0.1:13000")
