"""Whoever names a best trial: none over a limit is it, not even one that is COMPLETE.

Our own workers complete no such trial. Another tool may have, so the best value here is over.
"""

from __future__ import annotations

import io
import shlex
from dataclasses import asdict, replace

import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from data_utils import DataSpec
from search.dashboard.note import refresh_note, start_note
from search.dashboard.showcase import Showcase
from search.display.details import print_study
from search.display.progress import Progress
from search.display.status import print_list, print_status
from search.display.summary import print_summary
from search.errors import SearchError
from search.folders import OutputFolder
from search.limits import limits_of
from search.objectives import leaders, pareto_front
from search.options import WarmStart
from search.results.details import study_details
from search.results.listing import list_studies
from search.results.opened import OpenedStudy
from search.results.report.facts import collect
from search.results.report.origin import command_line
from search.results.report.writing import render
from search.results.status import read_status
from search.study import BASELINE_ATTR, open_study
from search.tracking.study_run import standing_of
from search.warm_start import take_best
from search.workers.local import show_start

LIMITS = {"size_mb": 20.0}
REASON = "25.1 MB, over the limit of 20"


def add(study, *values, excess, **attributes):
    """A trial; without values one that was over its limit, and so not trained."""
    trial = create_trial(
        state=TrialState.COMPLETE if values else TrialState.PRUNED,
        values=values or (0.125, *[1.0] * (len(study.directions) - 1)),
        params={"dropout": 0.1 + excess / 10},
        distributions={"dropout": FloatDistribution(0.0, 0.7)},
        user_attrs={"size_mb": 20 * (1 + excess), "root": len(study.trials), **attributes},
        system_attrs={"constraints:size_mb": excess, "constraints": [excess]},
        intermediate_values={1: values[0] / 2, 2: values[0]} if values else None,
    )
    study.add_trial(trial)


@pytest.fixture
def settings(settings):
    return replace(settings, data=asdict(DataSpec(source="t.csv")), limits=LIMITS)


@pytest.fixture
def study(storage, settings):
    """Trial 0: a baseline over the limit. 1: the best value, over the limit. 2: the best. 3: a
    baseline within it. 4: exactly at it."""
    made = open_study(storage, "limited", settings, n_trials=0)
    add(made, excess=0.25, prune_reason=REASON, **{BASELINE_ATTR: "wide"})
    add(made, 0.99, excess=0.5)
    add(made, 0.75, excess=-0.5)
    add(made, 0.25, excess=-0.25, **{BASELINE_ATTR: "narrow"})
    add(made, 0.5, excess=0.0)
    return made


@pytest.fixture
def nothing_within(storage, settings):
    made = open_study(storage, "hopeless", settings, n_trials=0)
    add(made, excess=0.25, prune_reason=REASON, **{BASELINE_ATTR: "wide"})
    add(made, 0.99, excess=0.5)
    return made


@pytest.fixture
def open_it(storage, settings, tmp_path):
    def opened(study):
        folder = OutputFolder(tmp_path)
        progress = Progress(io.StringIO())
        return OpenedStudy(storage, study, settings, folder, torch.device("cpu"), progress)

    return opened


def printed(show, *arguments, **keywords):
    console = Console(file=io.StringIO(), width=160)
    show(console, *arguments, **keywords)
    return console.file.getvalue()


def test_the_leaders_are_the_complete_trials_within_the_limits(study, open_it):
    assert [trial.number for trial in leaders(study.trials)] == [2, 4, 3]
    assert [trial.number for trial in open_it(study).leaders] == [2, 4, 3]
    assert open_it(study).best.number == 2


def test_the_closing_table_names_the_best_within_and_marks_the_baseline_that_is_not(study):
    text = printed(print_summary, study, next_commands=[])
    assert "Best: trial 2 with 0.7500; best baseline: trial 3 with 0.2500 (+50.0 points)" in text
    assert "Limits: at most 20 MB; 2 trials were over that, not trained" in text
    assert f"trial 0, baseline: wide: {REASON}" in text
    assert "0.9900" not in text


def test_the_closing_table_says_that_nothing_is_within(nothing_within):
    text = printed(print_summary, nothing_within, next_commands=[])
    assert "Best: none, for no trial within the limits has been completed" in text
    assert "0.9900" not in text and f"baseline: wide: {REASON}" in text


def test_status_show_and_list_name_the_best_within(storage, study, nothing_within):
    assert read_status(storage, study).as_json()["best"]["number"] == 2
    assert "Best: trial 2 with 0.7500" in printed(print_status, read_status(storage, study))
    details = study_details(study)
    assert [leader["number"] for leader in details["leaders"]] == [2, 4, 3]
    assert details["over_limits"] == 2 and "over the limits" in printed(print_study, details)
    listed = {found.name: found for found in list_studies(storage)}
    assert listed["limited"].best_value == 0.75 and listed["hopeless"].best_value is None
    assert "0.99" not in printed(print_list, [*listed.values()], where="here")


def test_status_and_show_say_that_nothing_is_within(storage, nothing_within):
    status = read_status(storage, nothing_within)
    text = printed(print_status, status)
    assert "Best" not in text and "No trial within the limits has been completed yet" in text
    assert "Limits: at most 20 MB" in text
    assert status.as_json()["best"] is None and status.as_json()["limits"] == LIMITS
    assert study_details(nothing_within)["leaders"] == []


@pytest.mark.parametrize("form", ["html", "md"])
def test_the_report_is_about_the_best_within_and_lists_the_baseline_that_is_not(
    study, open_it, form
):
    facts = collect(open_it(study), top=3, seeds=0)
    text = render(facts, form)
    assert facts.best.number == 2 and [row.number for row in facts.baselines] == [3]
    assert [place.trial.number for place in facts.leaderboard.places] == [2, 4, 3]
    assert [row.number for row in facts.rows] == [2, 4, 3, 1]
    assert "0.7500, 50.0 points above" in text.replace(" on validation", "")
    assert "Limits: at most 20 MB; 2 trials were over that, not trained." in text
    assert f"wide (trial 0): {REASON}" in text
    assert "best so far rises from 0.7500 at trial 2 to 0.7500 at trial 2" in text


def test_a_report_or_an_export_of_nothing_within_is_refused_in_one_line(nothing_within, open_it):
    line = r"no COMPLETE trial within its limits \(at most 20 MB\) among its 2: .*run more trials"
    with pytest.raises(SearchError, match=line):
        collect(open_it(nothing_within), top=3, seeds=0)
    with pytest.raises(SearchError, match=line):
        _ = open_it(nothing_within).best


def test_mlflow_is_told_of_the_best_within(storage, study, nothing_within):
    standing = standing_of(study, study.trials)
    assert standing.best is not None and standing.best[:2] == (2, 0.75)
    assert standing_of(nothing_within, nothing_within.trials).best is None


def test_the_display_starts_with_the_best_within(study, nothing_within):
    for shown, number in ((study, 2), (nothing_within, None)):
        progress = Progress(io.StringIO())
        show_start(progress, shown, n_trials=5)
        assert progress.view.best_number == number


def test_the_note_names_the_best_within_and_why_a_baseline_is_not(
    storage, study, nothing_within, settings, inputs
):
    for noted in (study, nothing_within):
        start_note(storage, noted, settings, inputs.prepared)
    add(study, 0.76, excess=-0.1)
    note = refresh_note(storage, study)
    assert "**Trial 5: 0.7600** balanced accuracy on validation, +51.0 points" in note
    assert f"| 0 | wide | PRUNED: {REASON} |" in note and "0.99" not in note
    add(nothing_within, excess=0.1, prune_reason=REASON)
    note = refresh_note(storage, nothing_within)
    assert "No trial is COMPLETE yet within the limits." in note
    assert "Limits: at most 20 MB; 3 trials were over that, not trained." in note


def test_no_pictures_are_made_of_a_trial_that_is_over(storage, study, inputs, tmp_path):
    folder = tmp_path / "artifacts"
    told = []
    showcase = Showcase(
        storage, study, inputs.prepared, folder=folder, log_text=told.append, notify=told.append
    )
    trainer = object()  # would fail if it were looked at
    assert showcase.trial_ended(study.trials, 1, trainer, []) == ""
    assert told == [] and not folder.exists()


def test_a_study_starts_from_the_best_within_another_ones_limits(
    storage, study, nothing_within, options, tmp_path
):
    def asking(name):
        start = WarmStart(name, f"sqlite:///{tmp_path}/study.db", 2)
        return replace(options, warm_start=start)

    taken = take_best(asking("limited"))
    assert [number for number, _ in taken.trials] == [2, 4]
    with pytest.raises(SearchError, match="no COMPLETE trial within its limits besides"):
        take_best(asking("hopeless"))


def test_the_pareto_front_is_of_trials_within(storage, settings, open_it):
    several = replace(settings, objectives=("balanced_accuracy", "latency"), pruner="none")
    study = open_study(storage, "several", several, n_trials=0)
    for values, excess in (((0.99, 0.1), 0.5), ((0.75, 2.0), -0.5), ((0.5, 1.0), -0.5)):
        add(study, *values, excess=excess)
    assert [trial.number for trial in pareto_front(study)] == [1, 2]
    opened = replace(open_it(study), settings=several)
    found = collect(opened, top=1, seeds=0).pareto
    assert [row.number for row, _ in found.front] == [1, 2] and found.others == ()
    assert list_studies(storage)[0].best_value == 0.75


def test_the_command_that_repeats_it_asks_for_the_same_limits(settings):
    limited = replace(settings, limits={"size_mb": 20.0, "latency_ms": 0.5})
    words = shlex.split(command_line(limited, limited.usual_name, 5))
    assert words[words.index("--max-size-mb") + 1] == "20"
    assert words[words.index("--max-latency-ms") + 1] == "0.5"
    assert "--study" not in words
    assert limits_of(size_mb=20.0, latency_ms=0.5) == limited.limits
