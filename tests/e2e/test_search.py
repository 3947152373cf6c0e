"""The main job as a process: what a user types, and what is there afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parent.parent.parent


def trials_of(folder, study):
    storage = f"sqlite:///{folder / 'runs' / 'optuna.db'}"
    return optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)


def counted(trials):
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


@pytest.mark.parametrize(("model", "num_starts"), [("mlp", 2), ("cnn", 1)])
def test_a_search_ends_with_exactly_its_trials_and_says_what_to_type_next(
    command, small, tmp_path, model, num_starts
):
    done = command("--model", model, "--trials", 6, *small, MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path, f"{model}-titles")
    assert len(counted(trials)) == len(trials) == 6
    starts = [t.number for t in trials if "good_start" in t.user_attrs]
    assert starts == list(range(num_starts))
    baselines = [t for t in trials if "baseline" in t.user_attrs]
    assert [t.number for t in baselines] == list(range(num_starts, num_starts + len(baselines)))
    assert {t.state for t in baselines} == {TrialState.COMPLETE}
    assert "Best trials by validation balanced accuracy" in done.stdout
    assert "studies.py dashboard" in done.stdout
    assert "mlflow ui" in done.stdout
    assert f"Report: runs/reports/{model}-titles.html" in done.stdout
    page = (tmp_path / "runs" / "reports" / f"{model}-titles.html").read_text("utf-8")
    best = max(t.value for t in trials if t.state == TrialState.COMPLETE)
    assert f"<title>{model}-titles: {best:.4f}</title>" in page
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr


def test_the_same_command_again_runs_nothing_and_a_larger_budget_what_is_missing(
    command, small, tmp_path
):
    done = command("--trials", 4, "--json", *small)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finished = [e for e in events if e["event"] == "trial_finished"]
    assert [e["number"] for e in finished] == [0, 1, 2, 3]
    assert all(e["value"] is not None for e in finished)
    before = [t.datetime_complete for t in trials_of(tmp_path, "mlp-titles")]
    page = tmp_path / "runs" / "reports" / "mlp-titles.html"
    written = page.stat().st_mtime
    again = command("--trials", 4, *small)
    assert again.returncode == 0, again.stderr
    assert [t.datetime_complete for t in trials_of(tmp_path, "mlp-titles")] == before
    assert page.stat().st_mtime == written
    more = command("--trials", 6, *small)
    assert more.returncode == 0, more.stderr
    assert len(trials_of(tmp_path, "mlp-titles")) == 6
    assert page.stat().st_mtime > written


def test_the_same_seed_gives_the_same_trials_and_values(command, small, tmp_path):
    for out in ("one", "two"):
        done = command("--trials", 7, "--seed", 5, *small, "--out", out)
        assert done.returncode == 0, done.stderr
    one, two = (
        [
            (t.params, t.state, t.value, t.intermediate_values)
            for t in optuna.load_study(
                study_name="mlp-titles", storage=f"sqlite:///{tmp_path / out / 'optuna.db'}"
            ).get_trials()
        ]
        for out in ("one", "two")
    )
    assert one == two


def test_ctrl_c_leaves_a_study_that_the_same_command_goes_on_with(command, small, tmp_path):
    line = [sys.executable, ROOT / "studies.py", "--trials", "30", *map(str, small), "--json"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            event = json.loads(text)
            if event["event"] == "evaluated" and event["number"] == 2:
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130
    states = {t.state for t in trials_of(tmp_path, "mlp-titles")}
    assert TrialState.RUNNING not in states
    done = command("--trials", 8, *small)
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path, "mlp-titles")
    assert len(counted(trials)) >= 8
    assert not [t for t in trials if t.state == TrialState.RUNNING]


def test_two_local_workers_share_one_exact_budget(command, small, tmp_path):
    done = command("--trials", 9, "--workers", 2, *small)
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path, "mlp-titles")
    assert len(counted(trials)) == len(trials) == 9
    assert len({t.user_attrs["worker"] for t in trials}) == 2


def test_a_timeout_ends_the_search_and_leaves_nothing_running(command, small, tmp_path):
    started = time.monotonic()
    done = command("--trials", 100000, "--timeout", "4s", *small)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 120
    trials = trials_of(tmp_path, "mlp-titles")
    assert not [t for t in trials if t.state == TrialState.RUNNING]


def test_a_dry_run_prints_data_space_and_plan_and_stores_no_study(command, small, tmp_path):
    done = command("--dry-run", "--model", "cnn", *small)
    assert done.returncode == 0, done.stderr
    for text in ("Data: titles", "filter_lengths", "num_epochs", "Plan: 50 trials"):
        assert text in done.stdout
    assert not (tmp_path / "runs" / "optuna.db").exists()


def test_the_course_folder_trains_to_the_same_values_as_the_csv_of_its_rows(
    command, small, tmp_path, write_course_folder
):
    csv_run = command("--trials", 5, *small, "--study", "csv")
    assert csv_run.returncode == 0, csv_run.stderr
    folder = write_course_folder(tmp_path / "runs" / "cache")
    options = ["--data", folder, *small[2:], "--study", "course"]
    course_run = command("--trials", 5, *options)
    assert course_run.returncode == 0, course_run.stderr
    values = [
        [(t.params, t.value) for t in trials_of(tmp_path, study)] for study in ("csv", "course")
    ]
    assert values[0] == values[1]
