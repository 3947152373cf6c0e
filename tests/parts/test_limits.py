"""A search with limits as a process: what would be its best is over them, and nothing names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.trial import TrialState

import studies
from search.dashboard.attributes import note_in
from search.limits import is_over
from search.objectives import leaders
from search.results.listing import list_studies
from search.results.status import read_status
from search.storage.opening import open_storage
from search.study import BASELINE_ATTR

ROOT = Path(__file__).parents[2]
# Of a test's own searches; those of ``searched`` go to MLflow.
pytestmark = pytest.mark.usefixtures("mlflow_is_away")
# One configuration, four megabytes wide, that finds every title of the validation part.
WIDE = (
    "hidden_sizes=1024,1024 dropout=0.1 freeze_embeddings=no pooling=mean batch_size=128 "
    "learning_rate=0.005 weight_decay=0.0001 class_weight_power=0 logit_adjustment=0"
).split()
# The baselines take 0.96 MB with vectors of 16 numbers.
LIMITED = ("--study", "limited", "--max-size-mb", 0.9, "--sampler", "random")


def search(folder, url, *arguments):
    """Run a search to its end: exit status, output, errors."""
    given = ["--data", folder / "titles.csv", "--dim", 16, "--epochs", 8, *arguments]
    done = subprocess.run(
        [sys.executable, ROOT / "studies.py", *map(str, given)],
        cwd=folder,
        env={**os.environ, "STORAGE_URL": url, "OMP_NUM_THREADS": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True)
class Searched:
    """Two searches of the same configurations: ``free`` without limits, and ``limited``."""

    folder: Path
    url: str
    free: optuna.Study
    limited: optuna.Study
    output: str
    lines: str

    @property
    def best(self):
        return leaders(self.limited.get_trials(deepcopy=False))[0]

    def command(self, *arguments):
        """Run another command on them; its exit status."""
        return studies.main([*map(str, arguments), "--storage", self.url])


@pytest.fixture(scope="module")
def searched(write_table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    write_table(folder)
    url = f"sqlite:///{folder}/study.db"
    fixed = [word for setting in WIDE for word in ("--set", setting)]
    status, _, errors = search(folder, url, "--study", "free", *fixed)
    assert status == 0, errors
    status, output, lines = search(folder, url, *LIMITED, "--from", "free", "--trials", 10)
    assert status == 0, lines
    with closing(open_storage(url)) as storage:
        free, limited = (
            optuna.load_study(study_name=name, storage=storage) for name in ("free", "limited")
        )
        yield Searched(folder, url, free, limited, output, lines)


def test_what_would_be_the_best_is_over_the_limit_and_costs_no_epoch(searched):
    wide, *others = searched.limited.trials
    (free,) = searched.free.trials
    assert wide.params == free.params and free.value == 1.0  # nothing can beat it
    assert wide.state == TrialState.PRUNED and wide.constraints["size_mb"] > 0
    assert wide.intermediate_values == {} and "seconds" not in wide.user_attrs
    assert searched.best in others and searched.best.user_attrs["size_mb"] <= 0.9
    assert len(searched.limited.trials) == 10  # the budget, exactly
    assert "constraints" not in free.system_attrs and "size_mb" not in free.user_attrs


def test_the_terminal_names_the_best_within_and_marks_what_is_over(searched):
    over = [trial for trial in searched.limited.trials if is_over(trial)]
    baselines = [trial for trial in over if BASELINE_ATTR in trial.user_attrs]
    assert len(baselines) == 4 and all(not t.intermediate_values for t in baselines)
    best = f"Best: trial {searched.best.number} with {searched.best.value:.4f}"
    assert best in searched.output
    assert f"at most 0.9 MB; {len(over)} trials were over that" in searched.output
    for trial in baselines:
        line = f"trial {trial.number}, baseline: {trial.user_attrs[BASELINE_ATTR]}: 0.95"
        assert line in searched.output
    # Not the line that says which trial of the other study it starts from.
    (line,) = [x for x in searched.lines.splitlines() if x.split()[1:3] == ["trial", "0"]]
    assert "PRUNED" in line and line.endswith("MB, over the limit of 0.9")
    told = [line for line in searched.lines.splitlines() if line.endswith("best so far")]
    assert f"trial {searched.best.number} " in told[-1]


def test_status_show_and_list_name_the_best_within(searched, capsys):
    number, value = searched.best.number, searched.best.value
    assert searched.command("status", "--study", "limited", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["best"]["number"] == number and status["limits"] == {"size_mb": 0.9}
    assert searched.command("show", "--study", "limited", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["leaders"][0]["number"] == number and shown["settings"]["limits"]
    assert searched.command("list", "--json") == 0
    listed = {study["name"]: study for study in json.loads(capsys.readouterr().out)}
    assert listed["limited"]["best_value"] == value


def test_the_report_names_the_best_within(searched):
    file = searched.folder / "report.md"
    given = ("--format", "md", "--seeds", 0, "--to", file, "--out", searched.folder / "runs")
    assert searched.command("report", "--study", "limited", *given) == 0
    text = file.read_text("utf-8")
    assert f"best value, trial {searched.best.number}" in text
    assert "Limits: at most 0.9 MB" in text and "(trial 3): 0.95" in text


def test_the_best_within_is_exported(searched, capsys):
    folder = searched.folder / "model"
    given = ("--to", folder, "--out", searched.folder / "runs", "--device", "cpu")
    assert searched.command("export", "--study", "limited", *given) == 0
    assert f"Trial {searched.best.number} of limited" in capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["trial"] == searched.best.number
    assert (folder / "weights.safetensors").stat().st_size < 0.9e6
    card = " ".join((folder / "README.md").read_text("utf-8").split())
    assert "The study allows at most 0.9 MB; this model takes" in card


def test_an_export_where_nothing_is_within_is_refused(searched, capsys):
    fixed = [word for setting in WIDE for word in ("--set", setting)]
    arguments = ("--study", "hopeless", "--max-size-mb", 0.9, *fixed)
    status, output, errors = search(searched.folder, searched.url, *arguments)
    assert status == 0, errors
    assert "Best: none, for no trial within the limits has been completed" in output
    for command in ("export", "report"):
        given = ("--study", "hopeless", "--out", searched.folder / "runs")
        assert searched.command(command, *given) == 2
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert "no COMPLETE trial within its limits (at most 0.9 MB) among its 1" in line
        assert not (searched.folder / "runs" / "exports" / "hopeless").exists()


def test_a_study_goes_on_with_its_own_limits_alone(searched):
    for others in (("--max-size-mb", 5), ()):
        arguments = ("--study", "limited", "--sampler", "random", "--trials", 11, *others)
        status, _, errors = search(searched.folder, searched.url, *arguments)
        (line,) = [x for x in errors.splitlines() if x.startswith("error: ")]
        assert status == 2 and "exists with limits at most 0.9 MB, not " in line
        assert "--max-size-mb" in line
    assert len(searched.limited.trials) == 10


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_has_the_best_within_and_each_trials_size(searched):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.folder}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "title-search"]
    runs = client.search_runs([experiment.experiment_id], "tags.study = 'limited'")
    (parent,) = [run for run in runs if run.data.tags["kind"] == "study"]
    assert parent.data.tags["best_trial"] == str(searched.best.number)
    assert parent.data.metrics["best_balanced_accuracy"] == searched.best.value
    assert parent.data.params["limits.size_mb"] == "0.9"
    children = {int(r.data.tags["trial"]): r for r in runs if r.data.tags["kind"] == "trial"}
    assert sorted(children) == [*range(10)]
    for trial in searched.limited.trials:
        tags = children[trial.number].data.tags
        assert float(tags["size_mb"]) == trial.user_attrs["size_mb"]
        assert tags.get("prune_reason", "") == trial.user_attrs.get("prune_reason", "")
    assert children[0].info.status == "KILLED" and "value" not in children[0].data.metrics


def answer(app, path):
    """What the dashboard's server answers to its page."""
    environ = {}
    setup_testing_defaults(environ)
    environ["PATH_INFO"] = path
    return json.loads(b"".join(app(environ, lambda status, headers, failure=None: None)))


def test_the_dashboard_has_the_constraints_and_names_the_best_within(searched):
    from optuna_dashboard import wsgi

    study_id = searched.limited._study_id
    detail = answer(wsgi(searched.url), f"/api/studies/{study_id}")
    over = {trial.number for trial in searched.limited.trials if is_over(trial)}
    # What its pages go by: grey is a trial with a constraint above 0.
    found = {t["number"]: t["constraints"] for t in detail["trials"]}
    assert all(len(constraints) == 1 for constraints in found.values())
    assert {number for number, (excess,) in found.items() if excess > 0} == over
    assert all(len(t["values"]) == 1 for t in detail["trials"] if t["number"] in over)
    assert 0 in over and searched.best.number not in over
    (best,) = detail["best_trials"]
    assert best["values"] == [searched.best.value] and best["number"] not in over
    with closing(open_storage(searched.url)) as storage:
        note = note_in(storage.get_study_system_attrs(study_id))
    assert f"**Trial {searched.best.number}: {searched.best.value:.4f}**" in note
    assert "Limits: at most 0.9 MB" in note and "PRUNED: 0.95" in note


def test_a_copy_has_the_same_best_on_either_database(searched, url):
    to = ("--to", url, "--as", "copied")
    assert searched.command("copy", "--study", "limited", *to) == 0
    with closing(open_storage(url)) as storage:
        copied = optuna.load_study(study_name="copied", storage=storage)
        status = read_status(storage, copied)
        assert status.best.number == searched.best.number
        assert status.limits == {"size_mb": 0.9}
        assert [found.best_value for found in list_studies(storage)] == [searched.best.value]
        constraints = [trial.constraints for trial in searched.limited.trials]
        assert [trial.constraints for trial in copied.trials] == constraints


def test_workers_that_join_take_the_limits_from_the_study(write_table, tmp_path, url):
    write_table(tmp_path)
    arguments = ("--max-size-mb", 0.9, "--max-latency-ms", 1000, "--trials", 12, "--workers", 2)
    status, output, errors = search(tmp_path, url, "--study", "limited", *arguments)
    assert status == 0, errors
    with closing(open_storage(url)) as storage:
        study = optuna.load_study(study_name="limited", storage=storage)
        trials = study.trials
        assert {trial.state for trial in trials} <= {TrialState.PRUNED, TrialState.COMPLETE}
        assert len(trials) == 12 and all(
            set(t.user_attrs) >= {"size_mb", "latency_ms"} for t in trials
        )
        over = [trial for trial in trials if is_over(trial)]
        assert len(over) >= 4 and not any(trial.intermediate_values for trial in over)
        best = leaders(trials)[0]
        assert read_status(storage, study).best.number == best.number
    assert f"Best: trial {best.number} with {best.value:.4f}" in output
    assert "MB, over the limit of 0.9" in errors  # relayed from the workers' own displays
