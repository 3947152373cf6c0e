"""Comparing two trials: fair seeds, a named test, and no more said than the pairs carry."""

from __future__ import annotations

from dataclasses import asdict, replace

import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial

from data_utils import DataSpec
from search.configurations import distributions
from search.display.comparison import print_comparison
from search.display.console import console
from search.display.progress import Progress
from search.errors import SearchError
from search.folders import OutputFolder
from search.results.comparison import Side, compare, compared
from search.results.opened import OpenedStudy
from search.results.repeats import Repeat
from search.settings import StudySettings
from search.spaces import SPACE_VERSIONS, baselines, good_starts
from search.study import KEY_ATTR


def repeats_of(values):
    return [Repeat(seed, value, 0.5, 1.0, 1.0, 1.0) for seed, value in enumerate(values, start=1)]


def found(values_a, values_b):
    return compared("A", "B", repeats_of(values_a), repeats_of(values_b))


def test_five_wins_of_five_are_not_called_a_difference():
    comparison = found([0.71, 0.72, 0.73, 0.74, 0.75], [0.5, 0.5, 0.5, 0.5, 0.5])
    assert comparison.p_value == comparison.least_p_value == 2 / 2**5
    assert comparison.low > 0
    assert comparison.verdict.startswith("not decided: A was ahead with each of the 5 seeds")
    assert "--seeds 6" in comparison.verdict


@pytest.mark.parametrize("count", [16, 17, 20, 30])
def test_no_p_value_is_below_the_least(count):
    """From 17 pairs on patterns are drawn, of which few or none are the pairs' own."""
    comparison = found([0.7 + place / 1000 for place in range(count)], [0.5] * count)
    assert comparison.p_value >= comparison.least_p_value * (1 - 1e-9)
    if count != 17:
        assert comparison.p_value == pytest.approx(comparison.least_p_value, rel=1e-9)


def test_six_clear_wins_of_six_are_a_difference():
    comparison = found([0.50] * 6, [0.71, 0.72, 0.73, 0.74, 0.75, 0.76])
    assert comparison.p_value == 2 / 2**6
    assert comparison.difference == pytest.approx(-0.235)
    assert comparison.verdict == "B is better than A: by 23.50 points on average of 6 seeds"


def test_the_test_counts_sign_patterns():
    # Differences 1, 2, 3, 4, 5, -1 hundredths: 3 patterns have a sum as high, 3 one as low.
    comparison = found([0.51, 0.52, 0.53, 0.54, 0.55, 0.49], [0.5] * 6)
    patterns = [
        sum(size * (1 if code >> at & 1 else -1) for at, size in enumerate((1, 2, 3, 4, 5, 1)))
        for code in range(64)
    ]
    assert comparison.p_value == pytest.approx(2 * sum(p >= 14 for p in patterns) / 64)
    assert comparison.verdict.startswith("no difference shown: A was ahead with 5 of 6 seeds")


def test_the_interval_is_students():
    comparison = found([0.1, 0.2, 0.3], [0.0, 0.0, 0.0])
    half = 4.302653 * 0.1 / 3**0.5  # t of 2 degrees of freedom, standard deviation 0.1
    assert comparison.low == pytest.approx(0.2 - half, abs=1e-6)
    assert comparison.high == pytest.approx(0.2 + half, abs=1e-6)


def test_equal_values_are_no_difference():
    comparison = found([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (comparison.p_value, comparison.low, comparison.high) == (1.0, 0.0, 0.0)
    assert comparison.verdict == "A and B score the same with every seed"


@pytest.fixture
def open_study(storage, titles_csv, vectors_file, inputs, tmp_path):
    """Make a stored study of the real titles; its trials are the students' configurations."""

    def make(name="one", **changes):
        settings = StudySettings(
            model="mlp",
            data=asdict(DataSpec(source=str(titles_csv))),
            data_name="titles",
            data_fingerprint=inputs.prepared.fingerprint,
            vectors=str(vectors_file),
            embedding_dim=8,
            vectors_fingerprint=inputs.vectors.fingerprint,
            max_epochs=1,
            seed=0,
            sampler="tpe",
            pruner="asha",
            space=SPACE_VERSIONS["mlp"],
        )
        settings = replace(settings, **changes)
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        study.set_user_attr(KEY_ATTR, name)
        space = distributions(settings.model, 1)
        params = [*baselines("mlp", 1).values(), good_starts("mlp", 1)[0]]
        for number, given in enumerate(params):
            trial = create_trial(
                value=number / 10,
                params=given,
                distributions={key: space[key] for key in given},
                user_attrs={"accuracy": 0.5, "loss": 1.0, "epochs": 1.0, "seconds": 1.0},
            )
            study.add_trial(trial)
        return OpenedStudy(
            storage,
            study,
            settings,
            OutputFolder(tmp_path),
            torch.device("cpu"),
            Progress(),
        )

    return make


def side(opened, number):
    return Side(opened, opened.trials[number])


def test_both_are_trained_with_seeds_that_neither_search_has_used(open_study):
    one, two = open_study("one", seed=3), open_study("two", seed=5)
    comparison = compare(side(one, 0), side(two, 4), num_seeds=2)
    assert [seed for seed, _, _ in comparison.pairs] == [6, 7]
    assert (comparison.a, comparison.b) == ("one:0", "two:4")
    chosen = {one.trials[0].value, two.trials[4].value}
    assert chosen.isdisjoint(value for pair in comparison.pairs for value in pair[1:])


def test_what_was_trained_is_not_trained_again(open_study):
    opened = open_study()
    first = compare(side(opened, 0), side(opened, 4), num_seeds=2)
    told = []
    opened.progress.remark = told.append
    again = compare(side(opened, 0), side(opened, 4), num_seeds=3)
    assert told == ["trial 0 again, with seed 3", "trial 4 again, with seed 3"]
    assert again.pairs[:2] == first.pairs


def test_what_is_printed_names_the_test_and_both_trials(open_study, capsys):
    opened = open_study()
    a, b = side(opened, 0), side(opened, 4)
    comparison = compare(a, b, num_seeds=2)
    print_comparison(console(), a, b, comparison)
    printed = capsys.readouterr().out
    for words in ("one:0", "one:4", "sign-flip permutation test", "95% interval", "Verdict: "):
        assert words in printed
    assert comparison.as_json()["verdict"] == comparison.verdict


def test_values_on_different_data_are_not_compared(open_study):
    one, two = open_study("one"), open_study("two", data_fingerprint="f" * 32, data_name="other")
    with pytest.raises(SearchError, match="cannot be compared: .* titles .* other") as caught:
        compare(side(one, 0), side(two, 4), num_seeds=2)
    assert "\n" not in str(caught.value)


def test_a_trial_is_not_compared_with_itself(open_study):
    opened = open_study()
    with pytest.raises(SearchError, match="one:4 and one:4 are the same trial"):
        compare(side(opened, 4), side(opened, 4), num_seeds=2)


def test_one_seed_is_refused(open_study):
    opened = open_study()
    with pytest.raises(SearchError, match="one training shows no spread"):
        compare(side(opened, 0), side(opened, 4), num_seeds=1)


def test_a_failed_trial_is_refused(open_study):
    opened = open_study()
    opened.study.add_trial(create_trial(state=TrialState.FAIL))
    with pytest.raises(SearchError, match="one:5 is FAIL"):
        compare(side(opened, 0), side(opened, 5), num_seeds=2)
