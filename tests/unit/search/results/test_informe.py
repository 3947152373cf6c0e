"""The students' experiments as studies, measured, and shown."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sqlite3

import optuna
import pytest

import studies
from data_utils import DataSpec
from search.display.informe import as_markdown, as_text
from search.options import SearchOptions
from search.results.informe import Row, run_informe
from search.results.students import experiments
from search.spaces import CONSTANT_RATE_ATTR
from search.study import BASELINE_ATTR

EPOCHS = 1


@pytest.fixture(scope="module")
def asked(tmp_path_factory, titles_csv, vectors_file):
    """Both models on tiny titles for one epoch."""
    return SearchOptions(
        model="mlp",
        n_trials=None,
        timeout_seconds=None,
        study_name=None,
        storage_url=None,
        sampler="random",
        pruner="none",
        max_epochs=EPOCHS,
        seed=0,
        data=DataSpec(source=str(titles_csv)),
        vectors=vectors_file,
        embedding_dim=None,
        num_workers=1,
        device="cpu",
        out=tmp_path_factory.mktemp("informe"),
        tracking_uri=None,
        quiet=True,
        json=False,
    )


@pytest.fixture(scope="module")
def informe(asked):
    return run_informe(asked, ["mlp", "cnn"], prefix="informe-", num_seeds=1)


@pytest.fixture
def again(asked, informe):
    def run(num_seeds=1):
        return run_informe(asked, ["mlp", "cnn"], prefix="informe-", num_seeds=num_seeds)

    return run


def stored(asked, informe):
    url = f"sqlite:///{asked.out}/optuna.db"
    return [optuna.load_study(study_name=name, storage=url) for name in informe.studies]


def files(asked):
    return sorted((asked.out / "informe").rglob("*.json"))


def test_each_experiment_is_a_trial_of_its_study_and_nothing_else_is(asked, informe):
    for model, study in zip(("mlp", "cnn"), stored(asked, informe), strict=True):
        planned = {one.name: one.params for one in experiments(model, EPOCHS)}
        assert {t.user_attrs[BASELINE_ATTR]: t.params for t in study.trials} == planned
        assert {t.state.name for t in study.trials} == {"COMPLETE"}


def test_every_row_has_the_trials_own_figure_and_one_of_the_test_part(asked, informe):
    values = {
        trial.user_attrs[BASELINE_ATTR]: trial.value
        for study in stored(asked, informe)
        for trial in study.trials
    }
    assert {row.experiment.name: row.validation for row in informe.rows} == values
    # 59 titles of 3 categories: no figure of theirs is one of the 60 of validation by chance.
    assert all(0 <= row.test <= 1 for row in informe.rows)
    assert any(row.test != row.validation for row in informe.rows)


def test_no_figure_of_the_test_part_is_in_the_storage_or_in_mlflow(asked, informe):
    kept = {
        value
        for study in stored(asked, informe)
        for trial in study.trials
        for value in (*trial.intermediate_values.values(), trial.user_attrs["accuracy"])
    }
    measured = {f.test for row in informe.rows for f in row.figures} - kept
    assert measured
    for name in ("optuna.db", "mlflow.db"):
        with contextlib.closing(sqlite3.connect(asked.out / name)) as connection:
            dump = "\n".join(connection.iterdump())
        numbers = {round(float(n), 9) for n in re.findall(r"\d\.\d+(?:e-?\d+)?", dump)}
        assert not numbers & {round(value, 9) for value in measured}
        assert {round(row.validation, 9) for row in informe.rows} <= numbers


def test_what_is_there_is_neither_run_nor_measured_again(asked, informe, again):
    before = {path: path.stat().st_mtime_ns for path in files(asked)}
    assert [row.test for row in again().rows] == [row.test for row in informe.rows]
    assert {path: path.stat().st_mtime_ns for path in files(asked)} == before
    assert [len(study.trials) for study in stored(asked, informe)] == [8, 2]


def test_a_damaged_figure_is_measured_again_to_the_same(asked, informe, again):
    path = files(asked)[0]
    text = path.read_text()
    path.write_text(text[:10])
    found = again()
    assert [row.test for row in found.rows] == [row.test for row in informe.rows]
    assert json.loads(path.read_text())["test"] == json.loads(text)["test"]


def test_both_tables_and_what_to_know_are_shown_in_each_form(informe):
    for text in (as_text(informe, width=200), as_markdown(informe)):
        for row in informe.rows:
            (line,) = [line for line in text.splitlines() if row.experiment.name in line]
            assert f"{row.validation:.4f}" in line and f"{row.test:.4f}" in line
        for finding in informe.findings:
            (line,) = [line for line in text.splitlines() if finding.claim in line]
            assert finding.ours in line and finding.verdict in line
        assert "The data differ" in text and "Choose nothing by this table" in text


def test_what_is_said_of_the_learning_rate_is_how_they_were_trained(asked, informe):
    trials = [trial for study in stored(asked, informe) for trial in study.trials]
    assert all(trial.user_attrs[CONSTANT_RATE_ATTR] is True for trial in trials)
    assert "the learning rate is constant as theirs was" in as_markdown(informe)


def test_a_failed_experiment_is_shown_with_its_reason(informe):
    first, *others = informe.rows
    failed = dataclasses.replace(informe, rows=(Row(first.experiment, (), "Diverged"), *others))
    (line,) = [line for line in as_markdown(failed).splitlines() if first.experiment.name in line]
    assert "failed" in line and "Diverged" in line


def test_networks_that_guess_are_counted(informe):
    low = dataclasses.replace(informe.rows[0].figures[0], test=1 / 3)
    row = dataclasses.replace(informe.rows[0], figures=(low,))
    assert dataclasses.replace(informe, rows=(row,)).unlearnt == (row,)
    assert "1 of 1 networks have learnt next to nothing" in as_markdown(
        dataclasses.replace(informe, rows=(row,))
    )
    high = dataclasses.replace(row, figures=(dataclasses.replace(low, test=0.9),))
    assert dataclasses.replace(informe, rows=(high,)).unlearnt == ()


def test_more_seeds_add_trainings_and_a_deviation(asked, informe, again):
    found = again(num_seeds=2)
    assert found.seeds == (0, 1)
    assert all(len(row.figures) == 2 for row in found.rows)
    assert [row.figures[0].test for row in found.rows] == [row.test for row in informe.rows]
    assert f"± {found.rows[0].test_deviation:.4f}" in as_markdown(found)


def test_the_command_writes_json_to_a_file(asked, informe, capsys, tmp_path):
    target = tmp_path / "tables" / "informe.json"
    command = ["informe", "--data", asked.data.source, "--vectors", str(asked.vectors)]
    command += ["--epochs", "1", "--out", str(asked.out), "--device", "cpu", "--quiet"]
    assert studies.main([*command, "--format", "json", "--to", str(target)]) == 0
    assert capsys.readouterr().out == ""
    found = json.loads(target.read_text())
    assert [row["test"] for row in found["rows"]] == [row.test for row in informe.rows]
    assert [path.name for path in target.parent.iterdir()] == ["informe.json"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--models", "lstm"], "--models is 'lstm'"),
        (["--models", "mlp,mlp"], "--models is 'mlp,mlp'"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--to", "."], "is a folder"),
        (["--seeds", "0"], "--seeds"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_mistake_gets_one_line(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert studies.main(["informe", "--quiet", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and told in line
