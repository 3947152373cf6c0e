"""``studies.py dashboard``: optuna-dashboard over this service's storage."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from optuna_dashboard import wsgi
from sqlalchemy import event

import studies
from search.dashboard.server import make_app, open_for_dashboard
from search.storage.budget import set_budget
from search.storage.opening import open_storage
from search.storage.trial_queue import claim
from search.study import KEY_ATTR

ROOT = Path(__file__).parents[2]


def answer(app, path, query=""):
    """What the server answers to a page."""
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda status, headers, failure=None: None)))


def request(address, path, *, content=None, host=None, kind="application/json"):
    """Status and answer over HTTP; with ``content``, of a POST."""
    body = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(f"{address}{path}", body, {"Content-Type": kind})
    if host is not None:
        asked.add_header("Host", host)
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as reply:
        return reply.code, json.load(reply)


def names(space):
    return [parameter["name"] for parameter in space]


def add(study, values):
    for value in values:
        trial = study.ask()
        trial.suggest_float("rate", 0.0, 1.0)
        trial.set_user_attr("accuracy", value)
        trial.report(value / 2, 1)
        study.tell(trial, value)


@pytest.fixture
def opened(url):
    with closing(open_for_dashboard(url)) as storage:
        yield storage


@contextmanager
def counted_rows(storage) -> Iterator[list[str]]:
    """What the statements ask for that read parameters of trials."""
    found: list[str] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if "trial_params" in statement:
            found.append(f"{parameters}")

    event.listen(storage.engine, "before_cursor_execute", note)
    yield found
    event.remove(storage.engine, "before_cursor_execute", note)


def test_the_page_is_told_what_optunas_own_dashboard_tells(url, opened, tmp_path):
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
        add(study, [0.25, 0.75, 0.5])
        study.ask()
        study.enqueue_trial({"rate": 0.5})
        study.add_trial(create_trial(state=TrialState.FAIL))
        page = f"/api/studies/{study._study_id}"
        stock = RDBStorage(url, skip_table_creation=True)
        ours, theirs = make_app(opened, tmp_path), wsgi(stock)
        for _ in range(2):  # the second answer is of trials that are remembered
            told, expected = answer(ours, page), answer(theirs, page)
            # Of the trials with parameters; upstream has none beside one without.
            assert names(told.pop("intersection_search_space")) == ["rate"]
            assert names(expected.pop("intersection_search_space")) == []
            assert told == expected
        assert answer(ours, "/api/studies") == answer(theirs, "/api/studies")
        assert answer(ours, "/api/studies/99") == answer(theirs, "/api/studies/99")
        assert [t["number"] for t in answer(ours, page, "after=4")["trials"]] == [4, 5]
        stock.remove_session()
        stock.engine.dispose()


def test_a_trial_that_has_ended_is_read_once(url, opened):
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        add(study, [0.25, 0.75])
        running = study.ask()
        first = opened.get_all_trials(study._study_id, deepcopy=False)
        with counted_rows(opened) as read:
            study.tell(running, 1.0)
            second = opened.get_all_trials(study._study_id, deepcopy=False)
        (asked,) = read
        assert [int(number) for number in re.findall(r"\d+(?=[,)}])", asked)] == [
            running._trial_id
        ]
        assert [trial.state.name for trial in first] == ["COMPLETE", "COMPLETE", "RUNNING"]
        assert second[0] is first[0] and second[1] is first[1]
        assert second[2].state == TrialState.COMPLETE and second[2].value == 1.0
        with counted_rows(opened) as read:
            assert opened.get_all_trials(study._study_id) == second
        assert read == []


def test_a_study_that_took_the_ids_of_a_deleted_one_is_shown_as_it_is(url, opened):
    with closing(open_storage(url)) as storage:
        for name, values in (("old", [0.25, 0.5]), ("new", [0.75, 1.0])):
            study = optuna.create_study(study_name=name, storage=storage)
            add(study, values)
            shown = opened.get_all_trials(study._study_id)
            assert [trial.value for trial in shown] == values
            optuna.delete_study(study_name=name, storage=storage)
        with pytest.raises(KeyError):
            opened.get_all_trials(study._study_id)


def test_a_page_lists_the_parameters_that_all_trials_with_parameters_have(url, opened, tmp_path):
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        page, app = f"/api/studies/{study._study_id}", make_app(opened, tmp_path)
        for _ in range(2):
            study.enqueue_trial({"rate": 0.5})

        def spaces():
            found = answer(app, page)
            app._caches._kept._trials_last_fetched_at.clear()  # it reads after two seconds only
            return names(found["intersection_search_space"]), names(found["union_search_space"])

        assert spaces() == ([], [])
        first = study.ask()
        for name in ("rate", "width"):
            first.suggest_float(name, 0.0, 1.0)
        assert spaces() == (["rate", "width"], ["rate", "width"])
        study.tell(first, 0.5)
        second = study.ask()
        second.suggest_float("rate", 0.0, 1.0)
        # As far as it has come: it may yet ask for the width.
        assert spaces() == (["rate"], ["rate", "width"])
        for name in ("width", "depth"):
            second.suggest_float(name, 0.0, 1.0)
        assert spaces() == (["rate", "width"], ["depth", "rate", "width"])
        study.tell(second, 0.5)
        study.enqueue_trial({"rate": 0.5})
        assert spaces() == (["rate", "width"], ["depth", "rate", "width"])
        add(study, [0.5])
        assert spaces() == (["rate"], ["depth", "rate", "width"])


def test_choices_are_told_in_order(url, opened, tmp_path):
    choices = ["d", "b", "e", "a", "c"]
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        for _ in range(2):
            trial = study.ask()
            trial.suggest_categorical("kind", choices)
            study.tell(trial, 0.5)
        told = answer(make_app(opened, tmp_path), f"/api/studies/{study._study_id}")
        for space in ("intersection_search_space", "union_search_space"):
            (parameter,) = told[space]
            assert [c["value"] for c in parameter["distribution"]["choices"]] == sorted(choices)


@pytest.mark.parametrize("with_key", [True, False])
def test_a_page_of_a_study_that_took_a_deleted_ones_id_shows_its_own(tmp_path, with_key):
    url = f"sqlite:///{tmp_path}/study.db"  # which gives ids again
    with closing(open_for_dashboard(url)) as opened, closing(open_storage(url)) as storage:
        app, ids = make_app(opened, tmp_path), set()
        for name, parameters in (("s", ("old", "rate")), ("s", ("new", "rate"))):
            study = optuna.create_study(study_name=name, storage=storage)
            if with_key:
                study.set_user_attr(KEY_ATTR, parameters[0])
            for value in (0.25, 0.5, 0.75, 1.0):
                trial = study.ask()
                for parameter in parameters:
                    trial.suggest_float(parameter, 0.0, 1.0)
                study.tell(trial, value)
            page = f"/api/studies/{study._study_id}"
            told = answer(app, page)
            for space in ("intersection_search_space", "union_search_space"):
                assert names(told[space]) == sorted(parameters)
            assert [set(names(trial["params"])) for trial in told["trials"]] == [
                set(parameters)
            ] * 4
            (shares,) = answer(app, f"{page}/param_importances")["param_importances"]
            assert {share["name"] for share in shares} == set(parameters)
            ids.add(study._study_id)
            optuna.delete_study(study_name=name, storage=storage)
        assert ids == {1}


@contextmanager
def dashboard(*arguments: str, url: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(ROOT / "studies.py"), "dashboard", *arguments],
        cwd=cwd,
        env={**os.environ, "STORAGE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_command_serves_an_empty_database_until_it_is_ended(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/new.db"
    with dashboard("--port", "0", url=url, cwd=tmp_path) as process:
        said = process.stdout.readline()
        address = next(word.rstrip(";") for word in said.split() if word.startswith("http://"))
        with urllib.request.urlopen(f"{address}/api/studies", timeout=20) as reply:
            assert json.load(reply) == {"study_summaries": []}
        with closing(open_storage(url)) as storage:
            optuna.create_study(study_name="later", storage=storage)
        with urllib.request.urlopen(f"{address}/api/studies", timeout=20) as reply:
            assert [s["study_name"] for s in json.load(reply)["study_summaries"]] == ["later"]
        port = address.rpartition(":")[2]
        assert studies.main(["dashboard", "--storage", url, "--port", port]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in line
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


@contextmanager
def served(url, cwd, *arguments):
    """The address of the dashboard, and the process that serves it."""
    with dashboard("--port", "0", *arguments, url=url, cwd=cwd) as process:
        said = process.stdout.readline()
        yield next(word.rstrip(";") for word in said.split() if "http://" in word), process


def end(process):
    """What the server has said on its standard error."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    return errors


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_is_renamed_and_nothing_of_it_is_lost(url, tmp_path):
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="old", storage=storage, direction="maximize")
        add(study, [0.25, 0.75])
        study.enqueue_trial({"rate": 0.5})
        study.set_user_attr(KEY_ATTR, "k")
        study.set_metric_names(["balanced accuracy"])
        trial_id = study.trials[1]._trial_id
        attributes = {
            "first_trials": [[{"rate": 0.5}, {}]],
            "dashboard:note_str:0": "# Mine",
            "dashboard:note_ver": 1,
            f"dashboard:artifacts:{trial_id}:{'0' * 8}": "{}",
        }
        for key, value in attributes.items():
            storage.set_study_system_attr(study._study_id, key, value)
        optuna.create_study(study_name="other", storage=storage)
        before = storage.get_study_system_attrs(study._study_id)
        trials = study.get_trials()
        with served(url, tmp_path) as (address, process):
            page = f"/api/studies/{study._study_id}"
            status, told = request(address, f"{page}/rename", content={"study_name": "new"})
            assert (status, told["study_name"], told["study_id"]) == (201, "new", study._study_id)
            _, listed = request(address, "/api/studies")
            assert {s["study_name"] for s in listed["study_summaries"]} == {"new", "other"}
            assert request(address, page)[1]["note"]["body"] == "# Mine"
            refused = request(address, f"{page}/rename", content={"study_name": "other"})
            assert refused == (409, {"reason": "a study 'other' exists: give another name"})
            assert request(address, "/api/studies/99/rename", content={"study_name": "x"}) == (
                404,
                {"reason": "there is no study with id 99"},
            )
            for content in ({}, [], {"study_name": " "}, {"study_name": ".."}, {"study_name": 5}):
                status, _ = request(address, f"{page}/rename", content=content)
                assert status == 400
            # As a page from elsewhere may send it.
            asked = {"content": {"study_name": "theirs"}, "kind": "text/plain"}
            assert request(address, f"{page}/rename", **asked)[0] == 400
            assert end(process) == ""
        renamed = optuna.load_study(study_name="new", storage=storage)
        assert renamed.get_trials() == trials
        assert renamed.user_attrs == {KEY_ATTR: "k"}
        assert renamed.metric_names == ["balanced accuracy"]
        assert storage.get_study_system_attrs(renamed._study_id) == before
        with pytest.raises(KeyError):
            optuna.load_study(study_name="old", storage=storage)


def test_a_study_at_which_workers_are_is_not_renamed(url, tmp_path):
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        set_budget(storage, study._study_id, n_trials=1)
        claim(storage, study._study_id, token="t", worker="host:1")
        with served(url, tmp_path) as (address, process):
            page = f"/api/studies/{study._study_id}/rename"
            status, told = request(address, page, content={"study_name": "new"})
            assert status == 409
            assert told["reason"].startswith("workers are at the study: trial 0 is running; stop")
            assert end(process) == ""
        assert optuna.get_all_study_names(storage) == ["s"]


def test_optunas_own_copy_of_a_study_has_all_of_its_trials(url):
    """Their claims come with them: each trial has one, of its own creation."""
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        add(study, [0.25, 0.75])
        study.enqueue_trial({"rate": 0.5})
        optuna.copy_study(
            from_study_name="s", from_storage=storage, to_storage=storage, to_study_name="copy"
        )
        copied = optuna.load_study(study_name="copy", storage=storage).get_trials()
        assert [t.state for t in copied] == [t.state for t in study.get_trials()]
        assert [t.params for t in copied] == [t.params for t in study.get_trials()]
        claims = [t.system_attrs["claim"] for t in (*study.get_trials(), *copied)]
        assert len(set(claims)) == 6


@pytest.mark.parametrize(
    ("host", "names_here", "strangers"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "192.0.2.7"],
            [
                "evil.example",
                "evil.example:{port}",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "a@evil",
                "[",
                socket.gethostname() + "x",
            ],
        ),
        ("0.0.0.0", ["localhost", "192.0.2.7:{port}", socket.gethostname()], ["evil.example"]),
        ("localhost", ["localhost:{port}", "127.0.0.1"], ["evil.example"]),
    ],
)
def test_the_dashboard_answers_to_its_own_names_alone(tmp_path, host, names_here, strangers):
    """A page from elsewhere whose name is made to point here reads and changes nothing."""
    url = f"sqlite:///{tmp_path}/study.db"
    with closing(open_storage(url)) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        with served(url, tmp_path, "--host", host) as (address, process):
            port = address.rpartition(":")[2]
            address = f"http://127.0.0.1:{port}"
            for name in names_here:
                status, _ = request(address, "/api/studies", host=name.format(port=port))
                assert status == 200, name
            for name in strangers:
                for path, content in (
                    ("/api/studies", None),
                    ("/dashboard", None),
                    (f"/api/studies/{study._study_id}/rename", {"study_name": "x"}),
                ):
                    asked = {"content": content, "host": name.format(port=port)}
                    status, told = request(address, path, **asked)
                    assert status == 403 and "does not answer to the name" in told["reason"]
            assert end(process) == ""
        assert optuna.get_all_study_names(storage) == ["s"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--storage", "nonsense"], "is not a URL"),
        (["--storage", "sqlite:///{}/new.db", "--port", "99999"], "give another --port"),
        (["--storage", "sqlite:///{}/new.db", "--host", "192.0.2.1"], "give another"),
        (["--storage", "grpc://127.0.0.1:1"], "no proxy answers there"),
    ],
)
def test_a_mistake_gets_one_line(arguments, expected, tmp_path, capsys):
    assert studies.main(["dashboard", *(word.format(tmp_path) for word in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and expected in line
