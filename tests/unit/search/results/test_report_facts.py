"""What a report makes of trials, where the right answer can be worked out by hand."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import studies
from data_utils import Cleaning, DataSpec
from search.configurations import parse_settings
from search.display.progress import Progress
from search.errors import SearchError
from search.folders import OutputFolder
from search.options import parse_duration
from search.results.opened import OpenedStudy
from search.results.repeats import Repeat, new_seeds, remember_choice, seeds_of_choice
from search.results.report.attempts import thinned
from search.results.report.categories import shortened
from search.results.report.course import course
from search.results.report.facts import collect
from search.results.report.formats import duration, points
from search.results.report.importance import importance
from search.results.report.leaderboard import spread
from search.results.report.origin import command_line
from search.results.report.pruning import pruning
from search.results.report.summary import summarise
from search.results.report.writing import render
from search.study import BASELINE_ATTR, SETTINGS_ATTR

START = datetime(2026, 1, 1, 12)
SPACE = {
    "num_layers": IntDistribution(0, 4),
    "dropout": FloatDistribution(0.0, 0.7),
    "learning_rate": FloatDistribution(5e-4, 2e-2, log=True),
    "batch_size": CategoricalDistribution((128, 256, 512)),
}


@pytest.fixture
def settings(settings):
    data = asdict(DataSpec(source="titles.csv"))
    return replace(settings, data=data, max_epochs=5)


def trial(value=0.5, state=TrialState.COMPLETE, *, steps=20, seconds=10.0, **attributes):
    """A trial that reported ``steps`` quarters of an epoch."""
    dropout = attributes.pop("dropout", 0.3)
    made = create_trial(
        state=state,
        value=None if state == TrialState.FAIL else value,
        params={"num_layers": 0, "dropout": dropout, "learning_rate": 0.001, "batch_size": 128},
        distributions=SPACE,
        user_attrs={"seconds": seconds, "epochs": steps / 4, **attributes},
        intermediate_values={step: value * step / steps for step in range(1, steps + 1)},
    )
    made.datetime_start = START
    made.datetime_complete = START + timedelta(seconds=seconds)
    return made


@pytest.fixture
def open_of(storage, settings, tmp_path):
    """A study with these trials, in memory, as the report opens it."""

    def make(*trials, **changes):
        study = optuna.create_study(study_name="made", direction="maximize")
        study.add_trials(trials)
        return OpenedStudy(
            storage,
            study,
            replace(settings, **changes),
            OutputFolder(tmp_path),
            torch.device("cpu"),
            Progress(),
        )

    return make


def facts_of(opened):
    return collect(opened, top=3, seeds=0)


def test_time_saved_is_the_untrained_epochs_at_the_trials_own_pace(settings):
    pruned = trial(0.4, TrialState.PRUNED, steps=8, seconds=4.0)  # 2 of 5 epochs, 2 s each
    found = pruning([trial(seconds=30.0), pruned], settings)
    assert found.saved_seconds == pytest.approx(3 * 2.0)
    assert (found.epochs_trained, found.epochs_planned) == (7.0, 10.0)
    assert found.saved_share == pytest.approx(6 / (30 + 4 + 6))


def test_a_pruned_cnn_is_spared_the_epochs_that_it_had_asked_for(settings):
    pruned = trial(0.4, TrialState.PRUNED, steps=4, seconds=3.0)
    pruned.params["num_epochs"] = 3
    assert pruning([pruned], settings).saved_seconds == pytest.approx(2 * 3.0)


def test_cost_counts_the_epochs_of_a_resumed_trial_once():
    failed = trial(state=TrialState.FAIL, steps=8, seconds=8.0)
    resumed = trial(steps=20, seconds=12.0, resumed_from=8)
    costs = {cost.state: cost for cost in course([failed, resumed]).costs}
    assert (costs["FAIL"].epochs, costs["COMPLETE"].epochs) == (2.0, 3.0)
    assert costs["FAIL"].share == pytest.approx(0.4)


def test_failures_are_grouped_by_reason_and_say_which_were_tried_again():
    trials = [
        trial(state=TrialState.FAIL, fail_reason="interrupted"),
        trial(state=TrialState.FAIL, fail_reason="interrupted"),
        trial(state=TrialState.FAIL),
        trial(retry_of=0),
    ]
    for number, made in enumerate(trials):
        made.number = number
    found = [(f.reason, f.count, f.numbers, f.again) for f in course(trials).failures]
    assert found == [("interrupted", 2, (0, 1), 1), ("no reason was stored", 1, (2,), 0)]


def test_the_interval_of_a_mean_is_students():
    found = spread([0.70, 0.71, 0.72])
    # t with 2 degrees of freedom is 4.3027 at 97.5 %.
    assert found.mean == pytest.approx(0.71)
    assert found.high - found.mean == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)


def test_the_interval_of_a_mean_of_shares_ends_at_0_and_1():
    assert spread([0.949, 1.0, 1.0]).high == 1.0
    assert spread([0.05, 0.0, 0.0]).low == 0.0
    assert spread([-0.5, 0.5], least=-1.0).low == -1.0


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([0.030, 0.028, 0.033], ", clear of zero."),
        ([-0.030, -0.028, -0.033], ", clear of zero: with new seeds the baseline is better."),
        ([-0.030, 0.028, 0.033], ", not clear of zero: it may be chance."),
    ],
)
def test_a_lead_over_the_baseline_is_above_zero_below_or_neither(open_of, differences, words):
    opened = open_of(trial(0.9), trial(0.8, baseline="theirs"))
    for number, values in ((0, [0.7 + d for d in differences]), (1, [0.7] * len(differences))):
        for seed, value in enumerate(values, start=1):
            repeat = Repeat(seed, value, 0.5, 1.0, 1.0, 1.0)
            opened.study.set_user_attr(f"repeat:{number}:{seed}", json.dumps(asdict(repeat)))
    facts = collect(opened, top=1, seeds=0)
    assert words in summarise(facts).baselines


def test_seeds_by_which_an_export_chose_are_no_new_seeds(open_of):
    opened = open_of(trial(0.9), trial(0.8))
    for seed in (1, 2, 3):
        repeat = Repeat(seed, 0.7 + seed / 100, 0.5, 1.0, 1.0, 1.0)
        opened.study.set_user_attr(f"repeat:0:{seed}", json.dumps(asdict(repeat)))
    assert collect(opened, top=1, seeds=0).leaderboard.places[0].spread.count == 3
    remember_choice(opened, [1, 2])
    (place,) = collect(opened, top=1, seeds=0).leaderboard.places
    assert [repeat.seed for repeat in place.repeats] == [3]
    assert new_seeds(1, 3, seeds_of_choice(opened)) == [3, 4, 5]
    remember_choice(opened, [4])
    assert seeds_of_choice(opened) == {1, 2, 4}


def test_one_value_has_no_interval():
    found = spread([0.7])
    assert (found.mean, found.deviation, found.low, found.high) == (0.7, None, None, None)


def test_importance_finds_the_parameter_that_decides(open_of):
    trials = [trial(1 - abs(i / 60 - 0.5), dropout=i / 60 * 0.7) for i in range(60)]
    found = importance(open_of(*trials).study)
    assert next(iter(found.shares)) == "dropout"
    assert found.shares["dropout"] > 0.5


def test_importance_counts_pruned_trials(open_of):
    trials = [trial(i / 40, TrialState.PRUNED, dropout=i / 60) for i in range(40)]
    assert importance(open_of(*trials).study).num_trials == 40


def test_too_few_trials_have_no_importance_and_the_report_says_why(open_of):
    facts = facts_of(open_of(*(trial(i / 20, dropout=i / 60) for i in range(19))))
    assert facts.importance.shares == {}
    assert "19 trials with a value are too few" in summarise(facts).importance


def test_trials_of_one_value_have_no_importance(open_of):
    facts = facts_of(open_of(*(trial(dropout=i / 60) for i in range(30))))
    assert "all trials have the same value" in summarise(facts).importance


@pytest.mark.parametrize("form", ["html", "md"])
def test_a_study_of_one_trial_has_a_report(open_of, form):
    text = render(facts_of(open_of(trial(0.25))), form)
    assert "The best of 1 trial reaches a balanced accuracy of 0.2500" in text


@pytest.mark.parametrize("form", ["html", "md"])
def test_a_study_of_baselines_says_that_nothing_has_beaten_them(open_of, form):
    trials = [trial(v, **{BASELINE_ATTR: f"no. {v}"}) for v in (0.3, 0.4)]
    text = render(facts_of(open_of(*trials)), form)
    assert "it is a baseline itself" in text
    assert "nothing has beaten it yet" in text


def test_trials_without_an_interval_are_not_said_to_overlap(open_of):
    opened = open_of(trial(0.5), trial(0.4))
    for number, value in ((0, 0.5), (1, 0.4)):
        repeat = Repeat(1, value, accuracy=value, loss=1.0, epochs=5.0, seconds=1.0)
        opened.study.set_user_attr(f"repeat:{number}:1", json.dumps(asdict(repeat)))
    assert "overlaps" not in summarise(facts_of(opened)).leaderboard


def test_overlapping_intervals_are_said_to_overlap(open_of):
    opened = open_of(trial(0.5), trial(0.4))
    for number, values in ((0, (0.5, 0.52)), (1, (0.49, 0.51))):
        for seed, value in enumerate(values, start=1):
            repeat = Repeat(seed, value, accuracy=value, loss=1.0, epochs=5.0, seconds=1.0)
            opened.study.set_user_attr(f"repeat:{number}:{seed}", json.dumps(asdict(repeat)))
    assert "overlaps with that of trial 1" in summarise(facts_of(opened)).leaderboard


def test_a_trial_that_only_its_seed_flattered_is_told_from_a_better_one(open_of):
    opened = open_of(trial(0.5), trial(0.4))
    for number, value in ((0, 0.3), (1, 0.4)):
        repeat = Repeat(1, value, accuracy=value, loss=1.0, epochs=5.0, seconds=1.0)
        opened.study.set_user_attr(f"repeat:{number}:1", json.dumps(asdict(repeat)))
    text = summarise(facts_of(opened)).leaderboard
    assert "but with new seeds trial 1 is better on average: 0.4000 against 0.3000" in text


def test_a_grid_without_baselines_says_so(open_of):
    facts = facts_of(open_of(trial(0.3), trial(0.4), sampler="grid", pruner="none"))
    assert "no baseline is there" in summarise(facts).lede
    assert "no complete baseline" in summarise(facts).baselines
    assert "--sampler grid --pruner none" in render(facts, "html")


def test_a_study_that_runs_on_says_so(open_of):
    facts = facts_of(open_of(trial(), create_trial(state=TrialState.RUNNING)))
    assert "not over: 1 trial under way" in summarise(facts).lede


def test_failed_attempts_stand_in_the_report_with_their_reason(open_of):
    failed = trial(state=TrialState.FAIL, fail_reason="Diverged: <loss> is nan")
    text = render(facts_of(open_of(trial(), failed)), "html")
    assert "<td>Diverged: &lt;loss&gt; is nan</td>" in text


def test_thousands_of_trials_fit_a_file_for_mail(open_of):
    trials = []
    for i in range(5000):
        pruned = i % 10 > 0
        made = trial(
            (i * 7919 % 5000) / 5000,
            TrialState.PRUNED if pruned else TrialState.COMPLETE,
            steps=4 if pruned else 20,
            dropout=(i * 104729 % 7000) / 10000,
        )
        trials.append(made)
    text = render(facts_of(open_of(*trials)), "html")
    assert len(text.encode()) < 2_000_000
    assert "The best 200 of 5,000 trials" in text


def test_thinning_keeps_baselines_and_every_best_so_far():
    trials = [trial(i / 1000) for i in range(50)] + [trial(0.0) for _ in range(950)]
    trials[700].set_user_attr(BASELINE_ATTR, "x")
    kept = thinned(trials, 100)
    assert all(made in kept for made in [*trials[:50], trials[700]])
    assert len(kept) < 200


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        ([], "has no trials yet"),
        ([TrialState.FAIL], "all 1 trials of study 'odd' failed, the last with 'no disk'"),
        ([TrialState.PRUNED], "has no COMPLETE trial among its 1"),
    ],
)
def test_a_study_with_nothing_to_report_is_refused_in_one_line(
    storage, settings, tmp_path, capsys, trials, line
):
    study = optuna.create_study(study_name="odd", storage=storage, direction="maximize")
    study.set_user_attr(SETTINGS_ATTR, settings.to_json())
    study.add_trials([trial(state=state, fail_reason="no disk") for state in trials])
    target = tmp_path / "new" / "report.html"
    url = f"sqlite:///{tmp_path}/study.db"
    assert studies.main(["report", "--storage", url, "--to", str(target)]) == 2
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and line in error
    assert not target.parent.exists()


def test_the_command_of_a_study_at_its_defaults_is_short(settings):
    usual = replace(settings, data=asdict(DataSpec()), embedding_dim=300, data_name="sat-segment")
    command = command_line(usual, "mlp-sat-segment", 50)
    assert command == "python studies.py --model mlp --trials 50"


def test_the_command_names_what_differs_from_the_defaults(settings):
    cleaning = Cleaning(lower=False, stop_words=(), min_letters=2)
    spec = DataSpec(
        source="my titles.csv", text_column="name", min_rows=5, split_seed=2, cleaning=cleaning
    )
    mine = replace(
        settings, data=asdict(spec), max_epochs=3, seed=7, fixed_params={"dropout": 0.3}
    )
    words = shlex.split(command_line(mine, "mine", None))
    text = " ".join(words)
    assert "my titles.csv" in words
    for part in (
        "--study mine --epochs 3 --seed 7 --dim 8 --set dropout=0.3",
        "--text-column name --min-rows 5 --split-seed 2",
        "--keep-case --stop-words none --min-letters 2",
    ):
        assert part in text


def test_the_command_gives_every_digit_and_what_a_trial_may_take(settings):
    fixed = {"learning_rate": 0.00123456789, "dropout": 0.33333}
    mine = replace(
        settings,
        data=asdict(DataSpec()),
        fixed_params=fixed,
        limits={"size_mb": 12.345678901234567, "latency_ms": 0.1 + 0.2},
    )
    command = command_line(mine, "mine", 5, trial_timeout_seconds=1234.5)
    words = shlex.split(command)
    settings_given = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    assert parse_settings(settings_given, "mlp", 3) == fixed
    assert float(words[words.index("--max-size-mb") + 1]) == 12.345678901234567
    assert float(words[words.index("--max-latency-ms") + 1]) == 0.1 + 0.2
    assert parse_duration(words[words.index("--trial-timeout") + 1]) == 1234.5
    # Two studies that differ are told apart in words, too.
    other = replace(mine, fixed_params={**fixed, "dropout": 0.33334})
    with pytest.raises(SearchError, match=r"dropout=0\.33334, not .*dropout=0\.33333;"):
        mine.check_continues(other, "mine")
    other = replace(mine, limits={"size_mb": 12.345678901234567, "latency_ms": 0.3})
    with pytest.raises(SearchError, match=r"0\.3 ms a title, not .*0\.30000000000000004 ms"):
        mine.check_continues(other, "mine")


def test_a_title_is_cut_to_a_line_without_control_characters():
    assert shortened("a\x00b\n\tc") == "a b c"
    assert len(shortened("x" * 10_000)) == 120


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (45, "45 s"), (200, "3 min 20 s"), (3900, "1 h 5 min"), (59.7, "1 min")],
)
def test_durations_are_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_a_difference_has_its_sign():
    assert (points(0.328), points(-0.01)) == ("+32.8 points", "-1.0 points")
