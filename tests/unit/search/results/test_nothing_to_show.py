"""Commands about a stored study that is not there, has no trials, or only failed ones."""

from __future__ import annotations

from contextlib import closing

import pytest
from optuna.trial import TrialState, create_trial

import studies
from search.storage.opening import open_database
from search.study import open_study

COMMANDS = {
    "status": ["--study", "{name}"],
    "show": ["--study", "{name}"],
    "report": ["--study", "{name}"],
    "export": ["--study", "{name}"],
    "compare": ["{name}", "{name}:0"],
    "copy": ["--study", "{name}", "--to", "sqlite:///{folder}/to.db"],
    "delete": ["--study", "{name}", "--yes"],
    "worker": ["--study", "{name}"],
    "pause": ["--study", "{name}"],
    "resume": ["--study", "{name}"],
    "stop": ["--study", "{name}"],
    "cancel": ["--study", "{name}", "--trial", "0"],
    "enqueue": ["--study", "{name}", "--set", "dropout=0.3"],
}
NO_RESULT = "study '{name}' has no COMPLETE trial among its {count}: run more trials first"
FAILED = "all 2 trials of study 'failed' failed, the last with 'out of memory': mend the cause"


@pytest.fixture
def run(tmp_path, settings, capsys):
    """Run a command on a study beside 'empty' and 'failed': exit status, output, error."""
    with closing(open_database(f"sqlite:///{tmp_path}/optuna.db")) as storage:
        open_study(storage, "empty", settings, n_trials=5, first=[])
        failed = open_study(storage, "failed", settings, n_trials=5, first=[])
        reason = {"fail_reason": "out of memory"}
        failed.add_trials([create_trial(state=TrialState.FAIL, user_attrs=reason)] * 2)

    def typed(command, *arguments, name):
        capsys.readouterr()
        given = [part.format(name=name, folder=tmp_path) for part in arguments]
        status = studies.main([command, *given, "--out", str(tmp_path)])
        return status, *capsys.readouterr()

    return typed


def files(folder):
    """What is there, without SQLite's own files beside a database that was opened."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if not name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_that_is_not_there_is_said_so_in_one_line(run, command, tmp_path):
    before = files(tmp_path)
    status, out, err = run(command, *COMMANDS[command], name="gone")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: there is no study 'gone'")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("report", "empty", "study 'empty' has no trials yet: run some with `python studies.py`"),
        ("report", "failed", FAILED),
        ("export", "empty", NO_RESULT.format(name="empty", count=0)),
        ("export", "failed", NO_RESULT.format(name="failed", count=2)),
        ("compare", "empty", NO_RESULT.format(name="empty", count=0)),
        ("compare", "failed", NO_RESULT.format(name="failed", count=2)),
        ("cancel", "empty", "there is no trial 0 in the study: give --trial NUMBER"),
        ("cancel", "failed", "trial 0 has ended already (FAIL)"),
    ],
)
def test_what_needs_a_trial_says_what_is_missing(run, command, name, said):
    status, out, err = run(command, *COMMANDS[command], name=name)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and said in err


@pytest.mark.parametrize("name", ["empty", "failed"])
def test_a_study_without_results_can_be_looked_at_and_moved(run, name):
    for command in ("status", "show", "copy", "delete"):
        status, out, err = run(command, *COMMANDS[command], name=name)
        assert (status, err) == (0, ""), command
        assert name in out
    assert run("status", "--study", name, name=name)[0] == 2


def test_status_counts_the_failed_trials(run):
    _, out, _ = run("status", "--study", "failed", name="failed")
    assert "0 trials done (2 FAIL)" in out


def test_a_trial_without_figures_can_be_shown_and_one_that_is_not_there_is_said_so(run):
    assert "FAIL" in run("show", "--study", "failed", "--trial", "0", name="failed")[1]
    status, out, err = run("show", "--study", "empty", "--trial", "0", name="empty")
    assert (status, out) == (2, "")
    assert err == "error: study 'empty' has no trial 0: it has none yet\n"
