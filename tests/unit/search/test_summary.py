"""What a search prints when it ends."""

from __future__ import annotations

import io
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from search.display.summary import describe_params, print_summary
from search.study import BASELINE_ATTR


@pytest.fixture
def study():
    return optuna.create_study(study_name="mine", direction="maximize")


@pytest.fixture
def add(study):
    def one(value, state=TrialState.COMPLETE, **user_attrs):
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params={"dropout": 0.25, "batch_size": 128, "num_layers": 1, "hidden_size_1": 64},
                distributions={
                    "dropout": FloatDistribution(0, 1),
                    "batch_size": CategoricalDistribution((128, 256)),
                    "num_layers": IntDistribution(0, 4),
                    "hidden_size_1": IntDistribution(1, 100),
                },
                user_attrs=user_attrs,
            )
        )

    return one


@pytest.fixture
def printed(study):
    def text(*commands):
        stream = io.StringIO()
        print_summary(Console(file=stream, width=160), study, next_commands=list(commands))
        return stream.getvalue()

    return text


def rows(text):
    """The cells of the table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_table_shows_the_ten_best_from_the_best_on(add, printed):
    for value in (0.1, 0.9, 0.5, 0.7, 0.3, 0.2, 0.8, 0.4, 0.6, 0.05, 0.15, 0.25):
        add(value)
    shown = [float(row[1]) for row in rows(printed())]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 10 and shown[0] == 0.9 and shown[-1] == 0.15


def test_of_equal_trials_the_earlier_comes_first(add, printed):
    for value in (0.5, 0.7, 0.7):
        add(value)
    assert [row[0] for row in rows(printed())] == ["1", "2", "0"]


def test_only_complete_trials_are_in_the_table(add, printed):
    add(0.9, TrialState.PRUNED)
    add(0.5)
    add(None, TrialState.FAIL)
    assert [row[0] for row in rows(printed())] == ["1"]


def test_a_baseline_is_called_by_its_name_and_others_by_their_parameters(add, printed):
    add(0.6, **{BASELINE_ATTR: "the students' own"})
    add(0.5)
    baseline, other = rows(printed())
    assert baseline[-1] == "baseline: the students' own"
    assert other[-1] == "dropout=0.25 batch_size=128 hidden=64"


def test_the_best_is_compared_with_the_best_baseline(add, printed):
    add(0.6, **{BASELINE_ATTR: "a"})
    add(0.7, **{BASELINE_ATTR: "b"})
    add(0.745)
    assert "Best: trial 2 with 0.7450; best baseline: trial 1 with 0.7000 (+4.5" in printed()


def test_a_best_baseline_outside_of_the_table_is_still_compared_with(add, printed):
    for number in range(11):
        add(0.9 + number / 1000)
    add(0.2, **{BASELINE_ATTR: "a"})
    text = printed()
    assert "baseline:" not in "".join(row[-1] for row in rows(text))
    assert "best baseline: trial 11 with 0.2000" in text


def test_epochs_and_seconds_are_shown(add, printed):
    add(0.5, epochs=2.25, seconds=12.34)
    assert rows(printed())[0][2:4] == ["2.25", "12.3"]


def test_states_are_counted_and_those_without_a_trial_left_out(add, printed):
    add(0.5)
    add(0.4)
    add(0.3, TrialState.PRUNED)
    assert "Study mine: 2 COMPLETE, 1 PRUNED\n" in printed()


def test_a_study_without_trials_has_no_table(printed):
    text = printed("do this")
    assert "Study mine: no trials" in text and rows(text) == []
    assert text.endswith("Next:\n  do this\n")


def test_a_failed_trial_says_why_in_its_own_last_line(add, printed):
    error = "Traceback (most recent call):\n  File [x]\nValueError: wrong [bold]width[/bold]\n"
    add(None, TrialState.FAIL, error=error)
    assert "trial 0 failed: ValueError: wrong [bold]width[/bold]" in printed()


def test_a_long_command_stays_on_one_line(printed):
    command = "mlflow ui --backend-store-uri sqlite:///" + "very/long/" * 40 + "mlflow.db"
    assert f"  {command}\n" in printed(command)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"num_layers": 0, "dropout": 0.123456}, "hidden=none dropout=0.123"),
        ({"num_layers": 2, "hidden_size_1": 64, "hidden_size_2": 8}, "hidden=64-8"),
        ({"learning_rate": 1e-5, "freeze": True}, "learning_rate=1e-05 freeze=True"),
        ({}, ""),
    ],
)
def test_parameters_are_one_line_with_the_widths_as_a_list(params, text):
    assert describe_params(params) == text


def test_the_report_is_named_where_there_is_one(add, study):
    add(0.5)
    for report, shown in ((Path("a folder/study.html"), True), (None, False)):
        stream = io.StringIO()
        print_summary(Console(file=stream, width=20), study, report=report, next_commands=[])
        assert ("\nReport: a folder/study.html\n" in stream.getvalue()) == shown
