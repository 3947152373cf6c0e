"""The commands as they are typed: text, JSON, and a deletion that asks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import studies
from search.storage.opening import open_database
from search.storage.trial_queue import claim


@pytest.fixture
def url(tmp_path):
    """A storage with a study of three trials, one of them running, and one of another program."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    storage = open_database(url)
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    study.set_user_attr("n_trials", 5)
    for value, state in ((0.5, TrialState.COMPLETE), (float("nan"), TrialState.PRUNED)):
        trial = create_trial(
            state=state,
            value=None if value != value else value,
            params={"rate": 0.25},
            distributions={"rate": FloatDistribution(0, 1)},
            intermediate_values={1: value},
        )
        study.add_trial(trial)
    claim(storage, study._study_id, token="1", worker="host:1")
    optuna.create_study(storage=storage, study_name="[bold]two")
    storage.close()
    return url


@pytest.fixture
def run(url, tmp_path, capsys):
    """Run a command on the storage: exit status, output, error."""

    def typed(*arguments):
        arguments = [*arguments, "--storage", url, "--out", str(tmp_path)]
        status = studies.main(arguments)
        return status, *capsys.readouterr()

    return typed


@pytest.fixture
def answer(monkeypatch):
    """Sit at a terminal and type this."""
    opened = []

    def typing(text):
        keyboard, terminal = os.openpty()
        os.write(keyboard, text.encode())
        monkeypatch.setattr(sys, "stdin", os.fdopen(terminal))
        opened.extend((sys.stdin, os.fdopen(keyboard)))

    yield typing
    for file in opened:
        file.close()


@pytest.mark.parametrize(
    "command", [["list"], ["status"], ["show"], ["show", "--trial", "1"]], ids=" ".join
)
def test_every_look_is_text_or_one_json_document(run, command):
    name = [] if command == ["list"] else ["--study", "one"]
    status, text, _ = run(*command, *name)
    assert status == 0 and "one" in text and "\x1b" not in text
    status, document, _ = run(*command, *name, "--json")
    assert status == 0
    json.loads(document, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_names_are_not_read_as_markup(run):
    assert "[bold]two" in run("list")[1]


def test_status_names_the_worker_and_its_trial(run):
    _, text, _ = run("status", "--study", "one")
    assert "Study one: 2 of 5 trials done (1 COMPLETE, 1 PRUNED, 1 RUNNING)" in text
    assert "Best: trial 0 with 0.5000" in text
    assert "host:1" in text and "no evaluation yet" in text


@pytest.mark.parametrize("command", ["status", "show"])
def test_without_a_name_the_only_study_is_meant(run, command):
    status, _, error = run(command)
    assert status == 2
    assert "give --study NAME; studies in" in error and len(error.splitlines()) == 1


def test_an_empty_storage_lists_nothing(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_database(url).close()
    assert studies.main(["list", "--storage", url]) == 0
    assert capsys.readouterr().out == f"no studies in {url}\n"
    assert studies.main(["list", "--storage", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_without_a_terminal_nothing_is_deleted(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, _, error = run("delete", "--study", "[bold]two")
    assert status == 2 and "give --yes" in error
    assert "[bold]two" in run("list")[1]


def test_a_no_deletes_nothing(run, answer):
    answer("n\n")
    status, text, _ = run("delete", "--study", "[bold]two")
    assert status == 1 and "nothing was deleted" in text
    assert "[bold]two" in run("list")[1]


def test_a_yes_deletes_and_says_what_stays(run, answer):
    answer("y\n")
    status, text, _ = run("delete", "--study", "[bold]two")
    assert status == 0 and "left alone: prepared data" in text and "MLflow" in text
    assert "[bold]two" not in run("list")[1]


def test_a_script_says_yes_beforehand(run):
    assert run("delete", "--study", "[bold]two", "--yes")[0] == 0
    assert "[bold]two" not in run("list")[1]


def test_yes_is_not_force(run):
    status, _, error = run("delete", "--study", "one", "--yes")
    assert status == 2 and "workers are at the study" in error
    assert run("delete", "--study", "one", "--yes", "--force")[0] == 0


def test_looking_needs_no_pytorch(url):
    program = (
        "import sys, studies; status = studies.main(sys.argv[1:]); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    for command in (["list"], ["status", "--study", "one"], ["show", "--study", "one"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *command, "--storage", url],
            cwd=os.path.dirname(studies.__file__),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
