"""What a study of several objectives is to those who read it: its Pareto front, and its best."""

from __future__ import annotations

import io
import shlex
from dataclasses import asdict, replace

import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from rich.console import Console

from data_utils import DataSpec
from search.dashboard.note import refresh_note, start_note
from search.display.progress import Progress
from search.display.summary import print_summary
from search.folders import OutputFolder
from search.objectives import ONE_OBJECTIVE, parse_objectives
from search.results.listing import list_studies
from search.results.opened import OpenedStudy
from search.results.report.facts import collect
from search.results.report.importance import importance
from search.results.report.origin import command_line
from search.results.report.writing import render
from search.study import BASELINE_ATTR, open_study

TWO = ("balanced_accuracy", "latency")
VALUES = ((0.7, 1.0), (0.91234, 3.0), (0.91234, 2.0), (0.6, 1.5))


class Heard(Progress):
    def __init__(self):
        super().__init__(io.StringIO())
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def add(study, values, **attributes):
    trial = create_trial(
        values=values,
        params={"dropout": values[0] / 2},
        distributions={"dropout": FloatDistribution(0.0, 0.7)},
        user_attrs={"seconds": 1.0, "epochs": 1.0, **attributes},
        intermediate_values={1: values[0] / 2, 2: values[0]},
    )
    study.add_trial(trial)


@pytest.fixture
def settings(settings):
    return replace(settings, data=asdict(DataSpec(source="t.csv")), objectives=TWO, pruner="none")


@pytest.fixture
def study(storage, settings):
    made = open_study(storage, "two", settings, n_trials=0)
    for values in VALUES:
        add(made, values)
    add(made, (0.5, 9.0), **{BASELINE_ATTR: "theirs"})
    return made


@pytest.fixture
def opened(storage, study, settings, tmp_path):
    return OpenedStudy(
        storage, study, settings, OutputFolder(tmp_path), torch.device("cpu"), Heard()
    )


def test_the_best_is_the_most_accurate_of_the_front_and_that_is_said(opened):
    assert opened.best.number == 2 and opened.best.value == 0.91234
    assert [trial.number for trial in opened.leaders] == [2, 1, 0, 3, 4]
    (line,) = opened.progress.messages
    assert line == (
        "trial 2 has the greatest balanced accuracy of the 2 on the Pareto front of two"
    )


@pytest.mark.parametrize("form", ["html", "md"])
def test_the_report_has_the_front_with_its_values(opened, form):
    text = render(collect(opened, top=2, seeds=0), form)
    front = text[text.index("Pareto front</h2>" if form == "html" else "## Pareto front") :]
    front = front[: front.index("Leaderboard</h2>" if form == "html" else "## Leaderboard")]
    assert "Of 5 complete trials 2 are beaten by no other" in front
    assert "latency in ms" in front and "0.9123" in front and "2.0000" in front
    assert "3.0000" not in front  # of trial 1, as accurate and slower


def test_a_report_of_one_objective_speaks_of_no_front(storage, settings, tmp_path):
    settings = replace(settings, objectives=ONE_OBJECTIVE, pruner="asha")
    study = open_study(storage, "one", settings, n_trials=0)
    study.add_trial(create_trial(value=0.5))
    device = torch.device("cpu")
    opened = OpenedStudy(storage, study, settings, OutputFolder(tmp_path), device, Heard())
    assert "Pareto" not in render(collect(opened, top=1, seeds=0), "html")
    assert opened.progress.messages == []


def test_the_command_that_repeats_it_asks_for_the_same_objectives(settings):
    words = shlex.split(command_line(settings, "mlp-titles-latency", 5))
    assert words[words.index("--objectives") + 1] == "balanced_accuracy,latency"
    assert "--pruner" not in words and "--study" not in words
    assert parse_objectives(words[words.index("--objectives") + 1]) == TWO


def test_importance_is_that_for_balanced_accuracy():
    study = optuna.create_study(directions=["maximize", "minimize"])
    spaces = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    for number in range(40):
        a, b = number / 40, number * 7 % 40 / 40
        study.add_trial(create_trial(values=[a, b], params={"a": a, "b": b}, distributions=spaces))
    shares = importance(study).shares
    assert [*shares][0] == "a" and shares["a"] > 0.8


def test_the_closing_table_is_the_front(study):
    console = Console(file=io.StringIO(), width=160)
    print_summary(console, study, next_commands=[])
    text = console.file.getvalue()
    assert "Pareto front: 2 that no trial beats in everything" in text
    assert "Best trials by" not in text
    assert "Best: trial 2 with 0.9123; best baseline: trial 4 with 0.5000" in text


def test_a_list_gives_the_best_balanced_accuracy(storage, study):
    assert [listed.best_value for listed in list_studies(storage)] == [0.91234]


def test_the_note_has_the_front(storage, study, settings, inputs):
    start_note(storage, study, settings, inputs.prepared)
    add(study, (0.95, 0.5))
    note = refresh_note(storage, study)
    assert "**Trial 5: 0.9500**" in note
    front = note[note.index("## Pareto front") : note.index("## Baselines")]
    assert "| trial | validation balanced accuracy | latency in ms |" in front
    assert "| 5 | 0.9500 | 0.5000 |" in front and "0.9123" not in front
