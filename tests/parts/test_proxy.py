"""What a study promises, with a gRPC proxy between its workers and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.trial import TrialState

import studies
from search.dashboard.server import make_app, open_for_dashboard
from search.errors import StorageError, StorageLost
from search.limits import hold_against
from search.objectives import leaders
from search.results.deletion import delete_study
from search.results.listing import list_studies
from search.results.status import read_status
from search.settings import StudySettings
from search.spaces import SPACE_VERSIONS
from search.storage.budget import Verdict, set_budget
from search.storage.control import control_of, pause
from search.storage.opening import create_tables, open_storage
from search.storage.operations import STOPPING_SECONDS
from search.storage.trial_queue import claim
from search.study import SETTINGS_ATTR
from search.tracking.study_run import standing_of

ROOT = Path(__file__).parents[2]


class Proxy:
    """``studies.py proxy`` in a process of its own, always at the same port."""

    def __init__(self, database: str) -> None:
        self.database = database
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "studies.py", "proxy", "--port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, "STORAGE_URL": self.database},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def proxy(postgres) -> Iterator[Proxy]:
    started = Proxy(postgres.new_database())
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


@pytest.fixture
def proxied(proxy, make_fleet):
    """A fleet whose workers know the proxy's address alone."""
    return make_fleet(proxy.url)


def _assert_whole(fleet, n_trials):
    states = fleet.states()
    assert states["COMPLETE"] + states["PRUNED"] == n_trials, (states, fleet.stderr())
    assert states["RUNNING"] == states["WAITING"] == 0, states
    assert "Traceback" not in fleet.stderr()


def test_eight_workers_meet_the_budget_exactly_and_one_killed_loses_nothing(proxied, proxy):
    proxied.create(30)
    pids = proxied.start(8, steps=5, grace=4.0, prune=True)
    proxied.wait_for("step", count=12)
    os.kill(pids[0], signal.SIGKILL)
    codes = proxied.wait()
    assert {codes[pid] for pid in pids[1:]} == {0}, proxied.stderr()
    _assert_whole(proxied, 30)
    starts = [event["number"] for event in proxied.events("start")]
    assert len(starts) == len(set(starts))
    retried = [
        trial.user_attrs
        for trial in proxied.study().get_trials(deepcopy=False)
        if "retry_of" in trial.user_attrs
    ]
    assert len(retried) <= 1
    # The database holds the same, seen without the proxy.
    directly = open_storage(proxy.database)
    assert directly.get_all_trials(0 + proxied.study()._study_id) == proxied.study().get_trials()
    directly.close()


def test_what_is_over_a_limit_is_no_best_through_the_proxy_and_without(proxied, proxy):
    study = proxied.create(2)
    for size, value in ((30.0, 0.9), (10.0, 0.5)):
        trial = study.ask()
        hold_against(trial, {"size_mb": 20.0}, {"size_mb": size}.__getitem__)
        study.tell(trial, value)
    assert [trial.constraints["size_mb"] for trial in study.trials] == [0.5, -0.5]
    assert [trial.number for trial in leaders(study.trials)] == [1]
    standing = standing_of(study, study.trials)
    assert standing.best is not None and standing.best[0] == 1
    directly = open_storage(proxy.database)
    same = optuna.load_study(study_name="toy", storage=directly)
    assert read_status(directly, same).best.number == 1
    assert [found.best_value for found in list_studies(directly)] == [0.5]
    directly.close()


def test_a_proxy_that_is_killed_and_started_again_costs_no_trial_and_no_worker(proxied, proxy):
    proxied.create(14)
    proxied.start(3, steps=10, step_seconds=0.05, grace=8.0)
    proxied.wait_for("step", count=15)
    proxy.end(signal.SIGKILL)
    time.sleep(3.0)
    proxy.start()
    proxied.wait_for("step", count=50)
    status, errors = proxy.end(signal.SIGTERM)
    assert (status, errors) == (0, "")
    proxy.start()
    assert set(proxied.wait().values()) == {0}, proxied.stderr()
    assert proxied.states() == {"COMPLETE": 14}
    assert "Traceback" not in proxied.stderr()
    trained = [(event["root"], event["step"]) for event in proxied.events("step")]
    assert len(trained) == len(set(trained)) == 140


def test_an_outage_of_the_database_behind_it_is_waited_out(postgres, proxied, proxy):
    proxied.create(8)
    proxied.start(2, steps=10, step_seconds=0.05, grace=8.0)
    proxied.wait_for("step", count=10)
    postgres.stop("immediate")
    time.sleep(4.0)
    postgres.start()
    assert set(proxied.wait().values()) == {0}, proxied.stderr()
    assert proxied.states() == {"COMPLETE": 8}
    status, errors = proxy.end(signal.SIGTERM)
    assert status == 0
    assert "lost the database" in errors and "answers again" in errors
    assert "Traceback" not in errors and "p4ss-word" not in errors


def _until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def proxy_before_sqlite(tmp_path) -> Iterator[Proxy]:
    started = Proxy(f"sqlite:///{tmp_path}/study.db")
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


def test_a_proxy_serves_a_new_study_and_nothing_of_a_deleted_one_with_its_ids(
    proxy_before_sqlite, make_fleet, tmp_path
):
    directly = make_fleet(proxy_before_sqlite.database)
    proxied = make_fleet(proxy_before_sqlite.url)
    xs = {"old": [0.1, 0.2, 0.3], "new": [0.7, 0.8]}
    for name, enqueued in xs.items():
        proxied.study_name = directly.study_name = name
        study = directly.create(len(enqueued))
        for x in enqueued:
            study.enqueue_trial({"x": x})
        # Two clients that have seen both studies: this process, and the proxy itself.
        assert len(proxied.study().trials) == len(enqueued)
        proxied.start(1, steps=1)
        assert set(proxied.wait().values()) == {0}, proxied.stderr()
        assert proxied.study().trials == (trials := directly.study().trials)
        assert [trial.params["x"] for trial in trials] == enqueued
        if name == "old":
            delete_study(directly.storage, directly.study(), out=tmp_path)
    assert [event["x"] for event in proxied.events("start")] == xs["old"] + xs["new"]


def test_workers_of_a_study_that_is_deleted_behind_the_proxy_end_with_one_line(
    proxy_before_sqlite, make_fleet, tmp_path
):
    directly = make_fleet(proxy_before_sqlite.database)
    proxied = make_fleet(proxy_before_sqlite.url)
    study = directly.create(50)
    busy = proxied.start(1, steps=20, step_seconds=0.2)
    proxied.wait_for("step", count=2)
    pause(directly.storage, study._study_id)
    waiting = proxied.start(1)
    _until(lambda: {event["pid"] for event in proxied.events("wait")} == {*busy, *waiting})
    delete_study(directly.storage, study, out=tmp_path)
    claim(directly.storage, directly.create(5)._study_id, token="new", worker="host:1")
    assert proxied.wait() == dict.fromkeys([*busy, *waiting], 2), proxied.stderr()
    for pid in (*busy, *waiting):
        (line,) = [x for x in proxied.stderr(pid).splitlines() if x.startswith("error: ")]
        assert line.startswith("error: the study was deleted: ")
        assert "Traceback" not in proxied.stderr(pid)
    (trial,) = directly.study().trials
    assert (trial.state, trial.user_attrs["worker"]) == (TrialState.RUNNING, "host:1")


def test_a_trial_whose_row_is_lost_behind_the_proxy_is_dropped(proxied, proxy, make_fleet):
    proxied.create(2)
    proxied.start(1, steps=10, step_seconds=0.4)
    proxied.wait_for("step", count=2)
    directly = make_fleet(proxy.database)
    directly.lose_running()
    assert set(proxied.wait().values()) == {0}, proxied.stderr()
    assert [event["state"] for event in proxied.events("end")] == ["RUNNING", *["COMPLETE"] * 2]
    assert directly.states() == {"COMPLETE": 2}
    assert "Traceback" not in proxied.stderr()


def test_enqueued_configurations_run_once_each(proxied):
    study = proxied.create(40)
    for i in range(40):
        study.enqueue_trial({"x": i / 40})
    proxied.start(4, steps=1, step_seconds=0.0, grace=30.0)
    assert set(proxied.wait().values()) == {0}
    assert sorted(event["x"] for event in proxied.events("start")) == [i / 40 for i in range(40)]
    _assert_whole(proxied, 40)


def test_a_worker_that_slept_drops_the_trial_it_lost(proxied):
    proxied.create(10)
    sleeper, _ = proxied.start(2, steps=10, step_seconds=0.05)
    proxied.wait_for("step", count=6)
    os.kill(sleeper, signal.SIGSTOP)
    time.sleep(7.0)
    lost = [t for t in proxied.study().get_trials() if t.state == TrialState.FAIL]
    assert len(lost) == 1
    os.kill(sleeper, signal.SIGCONT)
    assert set(proxied.wait().values()) == {0}
    _assert_whole(proxied, 10)
    assert proxied.study().get_trials()[lost[0].number] == lost[0]


def test_a_proxy_that_stays_away_ends_the_call_with_one_line(proxy):
    storage = open_storage(proxy.url, outage_seconds=1.5)
    proxy.end(signal.SIGKILL)
    with pytest.raises(StorageLost, match="out of reach for [12] s"):
        storage.get_all_studies()
    storage.outage_seconds = 60.0
    began = time.monotonic()
    with storage.hurried_by(lambda: True), pytest.raises(StorageLost):
        storage.get_all_studies()
    assert time.monotonic() - began < STOPPING_SECONDS + 5.0
    storage.close()


def test_what_the_proxy_says_names_its_address_and_no_password(proxy):
    assert proxy.url in proxy.said and "p4ss-word" not in proxy.said
    create_tables(proxy.url)
    storage = open_storage(proxy.url)
    assert optuna.get_all_study_names(storage) == []
    assert storage.display_url == proxy.url
    storage.close()


def test_a_taken_port_is_one_line(proxy):
    again = subprocess.run(
        [sys.executable, "studies.py", "proxy", "--port", str(proxy.port)],
        cwd=ROOT,
        env={**os.environ, "STORAGE_URL": proxy.database},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 2
    (line,) = again.stderr.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1:{proxy.port}: ")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (
            "grpc://127.0.0.1:1",
            "no proxy answers there (Failed to connect to remote host: Connection refused)",
        ),
        ("grpc://127.0.0.1:99999", "is no address"),
        ("grpc://", "is no address"),
        ("grpc://no-such-host.invalid:13000", "no proxy answers there"),
    ],
)
def test_a_wrong_address_is_one_line(url, part):
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_another_server_at_the_address_is_no_proxy(postgres):
    with pytest.raises(StorageError, match="no proxy answers there"):
        open_storage(f"grpc://127.0.0.1:{postgres.port}")


def test_the_steering_commands_do_with_the_proxys_address(proxied, proxy, capsys):
    study = optuna.create_study(study_name="toy", storage=proxied.storage)
    settings = StudySettings(
        model="mlp",
        data={},
        data_name="none",
        data_fingerprint="none",
        vectors=None,
        embedding_dim=8,
        vectors_fingerprint="none",
        max_epochs=5,
        seed=0,
        sampler="tpe",
        pruner="asha",
        space=SPACE_VERSIONS["mlp"],
    )
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    set_budget(proxied.storage, study._study_id, n_trials=2)

    def steer(*command):
        assert studies.main([*command, "--study", "toy", "--storage", proxy.url]) == 0
        return control_of(proxied.storage, study._study_id).verdict

    assert steer("pause") is Verdict.PAUSED
    assert steer("resume") is None
    assert steer("stop") is Verdict.STOPPED
    steer("enqueue", "--set", "dropout=0.3")
    steer("cancel", "--trial", "0")
    (trial,) = study.get_trials()
    assert trial.state == TrialState.FAIL and trial.user_attrs["fail_reason"] == "cancelled"
    assert trial.system_attrs["fixed_params"] == {"dropout": 0.3}
    assert "is paused" in capsys.readouterr().out


def test_the_dashboard_shows_what_a_proxy_serves(proxy, tmp_path):
    with closing(open_storage(proxy.url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        study.add_trial(optuna.trial.create_trial(value=0.25))
    with closing(open_for_dashboard(proxy.url)) as storage:
        assert storage.display_url == proxy.url
        environ = {"PATH_INFO": f"/api/studies/{study._study_id}"}
        setup_testing_defaults(environ)
        app = make_app(storage, tmp_path)
        body = b"".join(app(environ, lambda *_: None))
        rename = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": f"/api/studies/{study._study_id}/rename",
            "wsgi.input": BytesIO(b'{"study_name": "new"}'),
            "CONTENT_LENGTH": "21",
            "CONTENT_TYPE": "application/json",
        }
        setup_testing_defaults(rename)
        refused = b"".join(app(rename, lambda *_: None))
    assert [trial["values"] for trial in json.loads(body)["trials"]] == [[0.25]]
    assert "use studies.py copy --as NAME" in json.loads(refused)["reason"]
