"""``--dry-run``."""

from __future__ import annotations

import dataclasses

import pytest

from data_utils import DataError, DataSpec
from models import MODELS
from search.configurations import distributions, spelled
from search.display.plan import print_plan
from search.errors import SearchError
from search.spaces import Task, baselines, good_starts, grid

TASK = Task(vocabulary_size=30, embedding_dim=8, num_classes=3, max_epochs=4)


@pytest.fixture
def plan(options, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def text(**changes):
        print_plan(dataclasses.replace(options, **changes))
        return " ".join(capsys.readouterr().out.split())

    return text


@pytest.mark.parametrize("model", sorted(MODELS))
def test_all_parameters_that_anything_names_are_listed(model):
    listed = set(distributions(model, TASK.max_epochs))
    named = [*good_starts(model, 4), grid(model, 5), *baselines(model, 4).values()]
    assert listed == set().union(*named)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_listed_parameter_holds_the_baselines_values(model):
    space = distributions(model, TASK.max_epochs)
    for params in baselines(model, 4).values():
        for name, value in params.items():
            assert space[name]._contains(space[name].to_internal_repr(value)), name


def test_the_plan_tells_data_space_and_trials(plan, options):
    text = plan(max_epochs=3, n_trials=20)
    assert "Data: titles" in text and "600" in text
    assert "Search space: mlp" in text and "learning_rate" in text and "logarithmic" in text
    assert "Plan: 20 trials, first 2 good starts, then 4 baselines;" in text
    assert "at most 3 epochs a trial" in text


def test_limits_are_in_the_plan_and_refused_if_nothing_can_keep_them(plan):
    text = plan(limits={"size_mb": 20.0, "latency_ms": 0.5})
    assert "limits: at most 20 MB and 0.5 ms a title" in text
    assert "limits" not in plan()
    with pytest.raises(SearchError, match="--max-size-mb is 0.001, but the word vectors alone"):
        plan(limits={"size_mb": 0.001})


def test_a_plan_makes_no_study(plan, options):
    plan()
    assert {path.name for path in options.out.iterdir()} == {"cache"}


def test_no_more_baselines_than_trials_are_announced(plan):
    text = plan(n_trials=3)
    assert "Plan: 3 trials, first 2 good starts, then 1 baseline;" in text


def test_wrong_options_are_refused_before_anything_is_written(plan, options):
    with pytest.raises(SearchError, match="--trials is 0"):
        plan(n_trials=0)
    assert not options.out.exists()


def test_data_that_cannot_be_read_are_refused_as_in_a_search(plan, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        plan(data=DataSpec(source=str(tmp_path / "nowhere.csv")))


def test_fixed_parameters_are_shown_and_only_the_baselines_that_have_them(plan):
    text = plan(max_epochs=3, settings=("batch_size=256", "freeze_embeddings=no"))
    assert "256, fixed by --set" in text and "no, fixed by --set" in text
    assert "first 2 good starts, then 1 baseline;" in text
    assert "hidden_size_1" in text


def test_one_configuration_is_announced_as_one_trial(plan):
    settings = tuple(spelled(good_starts("mlp", 3)[0]).split())
    assert "Plan: 1 trial, of the one configuration" in plan(n_trials=None, settings=settings)


def test_categories_that_a_part_lacks_are_named(plan, tmp_path):
    rows = [f"mesa madera roble {'abcdefghij'[i % 10]}{'klmnop'[i // 10]},A" for i in range(60)]
    rows += ["tornillo acero,B"] * 40  # of one title: on one side
    path = tmp_path / "titles.csv"
    path.write_text("title,category\n" + "\n".join(rows) + "\n")
    text = plan(data=DataSpec(source=str(path)))
    assert "categories without validation titles │ 1 (B, 40.0% of the titles)" in text
    assert "categories without test titles │ 1 (B, 40.0% of the titles)" in text
    assert "without train titles" not in text
    assert "rows used" in text and "vocabulary size" in text
