"""Pictures and tables on the pages of the best trials."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FixedTrial, TrialState, create_trial

from search.dashboard.confusions import answers_of, as_csv, hardest
from search.dashboard.pictures import confusion_picture, curve_picture
from search.dashboard.showcase import Showcase
from search.inputs import TrainingData
from search.spaces import SEARCH_SPACES, SPACE_VERSIONS, baselines
from search.study import task_of


@pytest.fixture(scope="session")
def trained(inputs, data_cache, session_settings):
    """A trainer that came to its end, and its evaluations."""
    data = TrainingData(inputs, cache_folder=data_cache, device=torch.device("cpu"))
    task = task_of(session_settings, inputs.prepared)
    params = next(iter(baselines("mlp", 2).values()))
    trainer = data.trainer(SEARCH_SPACES["mlp"](FixedTrial(params), task))
    return trainer, list(trainer.run())


@pytest.fixture(scope="session")
def session_settings():
    from search.settings import StudySettings

    return StudySettings(
        model="mlp",
        data={},
        data_name="titles",
        data_fingerprint="d1",
        vectors=None,
        embedding_dim=8,
        vectors_fingerprint="v1",
        max_epochs=2,
        seed=0,
        sampler="tpe",
        pruner="asha",
        space=SPACE_VERSIONS["mlp"],
    )


@pytest.fixture
def study(storage):
    return optuna.create_study(study_name="shown", storage=storage, direction="maximize")


@pytest.fixture
def show(storage, study, inputs, trained, tmp_path):
    """End a trial with a value, and show it; what was given to log_text and notify."""
    logged, told = [], []

    def make(value, folder=tmp_path / "artifacts"):
        showcase = Showcase(
            storage,
            study,
            inputs.prepared,
            folder=folder,
            log_text=lambda *arguments: logged.append(arguments),
            notify=told.append,
        )
        number = len(study.trials)
        attributes = {"root": number}
        trial = create_trial(value=value, state=TrialState.COMPLETE, user_attrs=attributes)
        study.add_trial(trial)
        showcase.trial_ended(study.trials, number, *trained)
        return logged, told

    return make


def artifacts_of(storage, study, number):
    """As the dashboard lists them."""
    from optuna_dashboard.artifact._backend import list_trial_artifacts

    trial = study.trials[number]
    attributes = storage.get_study_system_attrs(study._study_id)
    return list_trial_artifacts(attributes, trial.system_attrs, trial)


def test_the_dashboard_finds_the_files_of_a_trial(storage, study, show, tmp_path):
    logged, told = show(0.5)
    found = {meta["filename"]: meta for meta in artifacts_of(storage, study, 0)}
    kinds = {name: meta["mimetype"] for name, meta in found.items()}
    assert kinds == {
        "confusions.svg": "image/svg+xml",
        "learning-curve.svg": "image/svg+xml",
        "hardest-confusions.csv": "text/csv",
    }
    for root, text, name in logged:
        stored = (tmp_path / "artifacts" / found[name]["artifact_id"]).read_text("utf-8")
        assert (root, text) == (0, stored)
    assert told == []


def test_the_note_on_a_trial_shows_its_pictures(storage, study, show):
    from optuna_dashboard._note import get_note_from_system_attrs

    show(0.5)
    attributes = storage.get_study_system_attrs(study._study_id)
    trial_id = study.trials[0]._trial_id
    note = get_note_from_system_attrs(attributes, trial_id)
    assert note["version"] == 1
    for meta in artifacts_of(storage, study, 0):
        address = f"/artifacts/{study._study_id}/{trial_id}/{meta['artifact_id']}"
        assert (address in note["body"]) == meta["mimetype"].startswith("image")


def test_only_trials_among_the_best_three_are_shown(storage, study, show):
    for value in (0.5, 0.6, 0.7, 0.4, 0.55):
        show(value)
    shown = [bool(artifacts_of(storage, study, number)) for number in range(5)]
    assert shown == [True, True, True, False, True]


def test_a_folder_that_cannot_be_written_is_said_in_a_line_and_ends_nothing(
    storage, study, show, tmp_path
):
    (tmp_path / "file").touch()
    _, told = show(0.5, folder=tmp_path / "file")
    (line,) = told
    assert "optuna-dashboard lacks a part" in line and "\n" not in line
    assert artifacts_of(storage, study, 0) == []


def test_the_answers_are_those_of_the_best_evaluation(trained, inputs):
    trainer, curve = trained
    truth = np.asarray(inputs.prepared.validation.labels)
    right = answers_of(trainer) == truth
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    best = max(point.balanced_accuracy for point in curve)
    assert np.mean(recalls) == pytest.approx(best, abs=1e-12)


def test_confusions_are_counted_with_a_title_of_each(inputs):
    prepared = inputs.prepared
    truth = np.asarray(prepared.validation.labels, np.int64)
    answers = np.where(np.arange(len(truth)) % 4 == 0, (truth + 1) % 3, truth)
    wrong = [(t, a) for t, a in zip(truth.tolist(), answers.tolist(), strict=True) if t != a]
    expected = {
        (prepared.labels[t], prepared.labels[a]): count for (t, a), count in Counter(wrong).items()
    }
    rows = list(csv.DictReader(io.StringIO(as_csv(hardest(prepared, answers)))))
    assert {(r["category"], r["taken for"]): int(r["titles"]) for r in rows} == expected
    counts = [int(row["titles"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    texts = {prepared.validation.text(i): prepared.labels[truth[i]] for i in range(len(truth))}
    assert all(texts[row["for example"]] == row["category"] for row in rows)


def texts_of(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.text]


def test_the_confusion_picture_shows_shares_of_the_worst_categories():
    labels = [f"<{'x' * 20}\x00{'x' * 30} & {number}>" for number in range(30)]
    truth = np.repeat(np.arange(30), 10)
    answers = truth.copy()
    answers[70:74] = 3  # 4 of the 10 titles of category 7
    texts = texts_of(confusion_picture(truth, answers, labels, title="Trial 1"))
    assert sum(text.startswith("<xxx") for text in texts) == 20
    assert texts.count("60") == 1 and texts.count("40") == 1 and "100" in texts


def test_a_curve_of_one_point_is_a_picture(trained):
    texts = texts_of(curve_picture(trained[1][:1], title="Trial 1"))
    assert {"Trial 1", "● balanced accuracy", "● training loss"} <= set(texts)


def cells_of(svg):
    """The percentages, row by row."""
    lines = [line for line in svg.splitlines() if line.startswith("<rect x=")]
    return [int((re.findall(r">(\d+)</text>", line) or ["0"])[0]) for line in lines]


def test_a_picture_of_many_categories_takes_the_memory_of_the_rows_that_it_shows():
    """A table of all of them would be 3.2 GB."""
    size, rng = 20_000, np.random.default_rng(0)
    truth = np.repeat(np.arange(size), 3)
    answers = np.where(rng.random(len(truth)) < 0.5, truth, rng.integers(0, size, len(truth)))
    tracemalloc.start()
    picture = confusion_picture(truth, answers, [f"c{k}" for k in range(size)], title="t")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000
    assert len(cells_of(picture)) == 20 * 21


def test_the_cells_are_those_of_the_table_of_all_categories():
    """Of more categories than are shown, with some that have no titles."""
    size, rng = 60, np.random.default_rng(1)
    truth = rng.integers(0, size, 4000)
    truth = truth[truth % 7 != 3]
    answers = np.where(rng.random(len(truth)) < 0.6, truth, rng.integers(0, size, len(truth)))
    picture = confusion_picture(truth, answers, [f"c{k}" for k in range(size)], title="t")
    counts = np.zeros((size, size))
    np.add.at(counts, (truth, answers), 1)
    names = [text for text in texts_of(picture) if text.startswith("c") and text[1:].isdigit()]
    shown = [int(name[1:]) for name in names]
    errors = counts.sum(1) - counts.diagonal()
    present = np.flatnonzero(counts.sum(1))
    assert shown == present[np.argsort(-errors[present], kind="stable")][:20].tolist()
    shares = counts[shown] / counts[shown].sum(1, keepdims=True)
    columns = np.column_stack([shares[:, shown], 1 - shares[:, shown].sum(1)])
    assert cells_of(picture) == [round(100 * share) for share in columns.ravel()]
