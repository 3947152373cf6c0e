"""``studies.py dashboard``: optuna-dashboard over this service's storage."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
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
from search.storage.opening import open_storage

ROOT = Path(__file__).parents[2]


def answer(app, path, query=""):
    """What the server answers to a page."""
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda status, headers, failure=None: None)))


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
            assert answer(ours, page) == answer(theirs, page)
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
