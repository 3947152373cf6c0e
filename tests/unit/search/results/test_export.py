"""Exporting a real study's best trial, and what then stands in the folder."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy
import optuna
import pytest
import safetensors
import snowballstemmer
import torch
from safetensors.torch import save_file

import studies
from models import build_model
from models.evaluation import evaluate
from models.examples import Examples
from search.display.progress import Progress
from search.errors import SearchError
from search.results.export import ExportOptions, run_export
from search.results.model_folder import check_target, new_folder, writing
from search.results.opened import open_existing
from search.results.repeats import train_again
from search.results.test_part import intervals

ROOT = Path(__file__).resolve().parents[4]
OPTIONS = ExportOptions(
    study_name="shop",
    storage_url=None,
    out=Path("runs"),
    top=1,
    trial=None,
    seeds=1,
    to=None,
    register=None,
    tracking_uri=None,
    device="cpu",
    quiet=True,
)


@pytest.fixture(scope="module")
def out(titles_csv, tmp_path_factory):
    """The output folder of a search with five trials, all COMPLETE."""
    folder = tmp_path_factory.mktemp("search") / "runs"
    options = ["--data", titles_csv, "--dim", "16", "--epochs", "25", "--pruner", "none"]
    subprocess.run(
        [sys.executable, ROOT / "studies.py", *options]
        + ["--trials", "5", "--study", "shop", "--out", folder, "--quiet"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return folder


@pytest.fixture(scope="module")
def stored_before(out, exported):
    """All text in the study's database as it stood before the export."""
    return exported[2]


@pytest.fixture(scope="module")
def exported(out):
    """The folder of an export, what there is to say about it, and the database before it."""
    before = dump(out / "optuna.db")
    options = dataclasses.replace(OPTIONS, out=out, top=2, seeds=2)
    with contextlib.redirect_stdout(io.StringIO()):
        export = run_export(options)
    return out / "exports" / "shop", export, before


@pytest.fixture(scope="module")
def folder(exported):
    return exported[0]


@pytest.fixture(scope="module")
def export(exported):
    return exported[1]


@pytest.fixture(scope="module")
def test_titles(export):
    """The raw titles of the test part, and the name of each one's category."""
    prepared = export.opened.inputs.prepared
    titles = [prepared.test.text(index) for index in range(len(prepared.test))]
    return titles, [prepared.labels[label] for label in prepared.test.labels]


@pytest.fixture
def copied(out, exported, tmp_path):
    """The URL of a copy of the study's database, for tests that change it."""
    with (  # its newest pages may still be in a file beside it
        contextlib.closing(sqlite3.connect(out / "optuna.db")) as source,
        contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as target,
    ):
        source.backup(target)
    return f"sqlite:///{tmp_path}/copy.db"


@pytest.fixture
def run(out, copied, tmp_path, capsys):
    """Run `studies.py export` on the copy; exit status, standard output and error."""

    def export(*arguments):
        options = ["--out", out, "--storage", copied, "--seeds", 1, "--quiet"]
        options += ["--to", tmp_path / "model", *arguments]
        status = studies.main(["export", *map(str, options)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return export


def dump(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def test_the_figures_are_those_of_the_trained_network_on_the_test_part(export):
    opened = export.opened
    prepared = opened.inputs.prepared
    trained = train_again(opened, export.trained.config)
    test = Examples(
        token_ids=torch.from_numpy(prepared.test.token_ids),
        offsets=torch.from_numpy(prepared.test.offsets),
        labels=torch.from_numpy(prepared.test.labels).long(),
    )
    expected = evaluate(trained.model, test)
    found = export.figures
    assert found.titles == len(prepared.test)
    assert found.accuracy > 0.6  # it learnt something that weights can hold
    assert found.accuracy == expected.accuracy
    assert found.balanced_accuracy == expected.balanced_accuracy
    assert found.loss == expected.loss


def test_predicting_the_raw_test_titles_gives_exactly_the_test_accuracy(
    folder, test_titles, tmp_path, capsys
):
    titles, labels = test_titles
    with (tmp_path / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["title"], *([title] for title in titles)])
    options = ["--input", tmp_path / "test.csv", "--format", "csv"]
    assert studies.main(["predict", "--model", str(folder), *map(str, options)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    hits = [row["category"] == label for row, label in zip(rows, labels, strict=True)]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert sum(hits) / len(hits) == metrics["test"]["accuracy"]


def test_the_interval_is_that_of_drawing_the_titles_anew():
    # The mean of two recalls of 50 titles each: its variance is that of 100 coin tosses.
    balanced, plain = intervals(numpy.array([50, 50, 0]), numpy.array([25, 25, 0]))
    assert balanced == pytest.approx((0.4, 0.6), abs=0.011)
    assert plain == pytest.approx(balanced, abs=0.011)


def test_the_mean_of_recalls_of_few_titles_is_less_sure_than_the_share_of_all():
    balanced, plain = intervals(numpy.array([1000, 4]), numpy.array([900, 2]))
    assert balanced[0] < 0.5 < 0.9 < balanced[1]
    assert 0.87 < plain[0] < plain[1] < 0.93


def test_training_again_gives_the_stored_value_to_the_bit(export):
    assert export.trained.best.balanced_accuracy == export.chosen.trial.value
    assert export.repeated_exactly


def test_the_chosen_trial_has_the_highest_mean_over_the_seeds(export):
    assert [len(candidate.repeats) for candidate in export.candidates] == [2, 2]
    means = [candidate.mean for candidate in export.candidates]
    assert means == sorted(means, reverse=True)
    leaders = {trial.number for trial in export.opened.leaders[:2]}
    assert {candidate.trial.number for candidate in export.candidates} == leaders


def test_nothing_of_the_test_part_is_stored_before_the_export(stored_before, export):
    assert "test_part" not in stored_before
    for value in (export.figures.accuracy, export.figures.balanced_accuracy, export.figures.loss):
        assert repr(value) not in stored_before


def test_the_study_remembers_that_its_test_part_was_used(out, export):
    opened = open_existing("shop", None, out=out, device="cpu", progress=Progress())
    record = json.loads(opened.study.user_attrs[f"test_part:{export.chosen.trial.number}"])
    assert record["balanced_accuracy"] == export.figures.balanced_accuracy
    assert record["trials_before"] == 0


def test_that_another_trial_was_evaluated_before_is_said(run, export, tmp_path):
    numbers = {trial.number for trial in export.opened.trials} - {export.chosen.trial.number}
    status, printed, _ = run("--trial", min(numbers), "--to", tmp_path / "second")
    assert status == 0
    assert "1 other trials of this study were evaluated on the test part before" in printed
    assert "1 other trials of its study" in (tmp_path / "second" / "README.md").read_text()


def test_the_card_says_how_good_it_is_and_how_it_was_chosen(folder, export):
    card = (folder / "README.md").read_text()
    assert f"{export.figures.balanced_accuracy:.4f}" in card
    assert f"{export.chosen.mean:.4f} (± {export.chosen.deviation:.4f})" in card
    assert "first trial of its study to be evaluated" in card
    assert "to the last bit" in card
    splits = export.opened.inputs.prepared.summary["splits"]
    assert f"train {splits['train']}, validation {splits['validation']}" in card


def test_the_weights_hold_frozen_word_vectors_too(out, export, tmp_path, capsys):
    frozen = [t for t in export.opened.trials if t.params["freeze_embeddings"]]
    options = ["--out", out, "--trial", frozen[0].number, "--seeds", 1, "--quiet"]
    options += ["--to", tmp_path / "frozen"]
    assert studies.main(["export", *map(str, options)]) == 0
    with safetensors.safe_open(tmp_path / "frozen" / "weights.safetensors", "pt") as weights:
        embedding = weights.get_tensor("embedding")
    assert torch.equal(embedding, torch.from_numpy(export.opened.inputs.vectors.matrix))


def test_the_folder_predicts_alone_and_to_the_bit(folder, test_titles, tmp_path, capsys):
    titles = [title for title in test_titles[0] if title]
    bare = tmp_path / "packages"
    bare.mkdir()
    # What the requirements name, and what torch itself needs: nothing else is to be found.
    packages = Path(torch.__file__).parent.parent
    names = ["torch", "numpy", "safetensors", "snowballstemmer", "typing_extensions.py"]
    names += ["filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec"]
    for name in (*names, "numpy.libs", "torchgen", "functorch"):
        if (packages / name).exists():
            (bare / name).symlink_to(packages / name)
    alone = shutil.copytree(folder, tmp_path / "elsewhere" / "model")
    command = [sys.executable, "-S", "-s", alone / "predict.py", "--format", "jsonl", "--top", "3"]
    done = subprocess.run(
        [*command, *titles],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(bare)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    options = ["--format", "jsonl", "--top", "3", *titles]
    assert studies.main(["predict", "--model", str(folder), *options]) == 0
    assert done.stdout == capsys.readouterr().out


def test_the_requirements_are_the_packages_of_the_prediction(folder):
    lines = (folder / "requirements.txt").read_text().splitlines()
    modules = (torch, numpy, safetensors)
    expected = [f"{m.__name__}=={m.__version__.partition('+')[0]}" for m in modules]
    assert lines[:3] == expected
    assert lines[3].startswith(f"{snowballstemmer.__name__}==")


def test_everything_in_the_folder_can_be_read_by_others(folder):
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (folder, *folder.rglob("*")))


def test_no_file_is_a_pickle(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert path.suffix in (".md", ".json", ".txt", ".safetensors", "")
            assert not path.read_bytes().startswith(b"\x80")


def test_an_empty_folder_is_filled(run, tmp_path):
    (tmp_path / "empty").mkdir()
    status, _, _ = run("--to", tmp_path / "empty")
    assert status == 0
    assert (tmp_path / "empty" / "README.md").exists()


def test_what_stands_in_the_way_is_left_alone(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")
    status, _, err = run("--to", tmp_path / "full")
    assert (status, err.count("\n")) == (2, 1)
    assert "is there already: give another folder with --to, or remove it" in err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_an_export_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "deep" / "model") as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_error_that_is_not_of_writing_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "model"):
        (tmp_path / "titles").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [Path.touch, lambda path: save_file({}, path)])
def test_what_cannot_be_written_is_one_line_that_names_the_target(tmp_path, write):
    with pytest.raises(SearchError) as caught, writing(tmp_path / "model"):
        write(tmp_path / "no folder" / "file")
    assert str(caught.value).startswith(f"{tmp_path / 'model'} cannot be written (")
    assert str(caught.value).endswith("): give another folder with --to")


def test_the_folder_that_one_stands_in_is_filled(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    check_target(Path("."))
    with new_folder(Path(".")) as folder:
        (folder / "file").write_text("x")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["SHA256SUMS", "file"]


def test_a_link_to_an_empty_folder_is_refused_before_the_training(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(SearchError, match="link is there already: give another folder"):
        check_target(tmp_path / "link")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "shoop"], "there is no study 'shoop'"),
        (["--top", "0"], "--top is 0"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--trial", "3", "--top", "2"], "--trial takes one trial"),
        (["--trial", "99"], "has no trial 99"),
        (["--to", "/proc/model"], "/proc/model cannot be written"),
        (["--register", "a/b"], "none with / or :"),
        (["--register", "a", "--tracking-uri", "http://127.0.0.1:9"], "no MLflow answers"),
    ],
)
def test_a_mistake_gets_one_line(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, printed, err = run(*arguments)
    assert (status, printed, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and said in err
    assert all(path.name.startswith("copy.db") for path in tmp_path.iterdir())


def test_a_trial_that_did_not_end_well_is_refused(run, copied):
    study = optuna.load_study(study_name="shop", storage=copied)
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    status, _, err = run("--trial", len(study.trials) - 1)
    assert status == 2
    assert "is FAIL: give a COMPLETE one, or none for the best" in err


def test_a_study_of_failed_trials_has_nothing_to_export(run, copied):
    with contextlib.closing(sqlite3.connect(copied.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE trials SET state = 'FAIL'")
        connection.commit()
    status, _, err = run()
    assert (status, err.count("\n")) == (2, 1)
    assert "has no COMPLETE trial among its 5" in err


def test_a_value_that_training_does_not_repeat_is_said(run, copied, tmp_path, export):
    number = export.chosen.trial.number
    with contextlib.closing(sqlite3.connect(copied.removeprefix("sqlite:///"))) as connection:
        query = (
            "UPDATE trial_values SET value = 0.875 WHERE trial_id ="
            " (SELECT trial_id FROM trials WHERE number = ?)"
        )
        connection.execute(query, (number,))
        connection.commit()
    status, printed, _ = run("--trial", number, "--to", tmp_path / "other")
    assert status == 0
    assert "not the 0.8750 of the search" in printed
    metrics = json.loads((tmp_path / "other" / "metrics.json").read_text())
    assert metrics["validation"]["repeated_exactly"] is False
    assert "not the 0.8750 of the search" in (tmp_path / "other" / "README.md").read_text()


def test_the_network_in_the_folder_is_that_of_the_trial(folder, export):
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == "mlp"
    network = {**config["network"], "hidden_sizes": tuple(config["network"]["hidden_sizes"])}
    assert type(export.trained.config.model)(**network) == export.trained.config.model
    assert type(build_model(export.trained.config.model)) is type(export.trained.model)
