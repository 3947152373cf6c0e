"""What is refused before anything is read or written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from data_utils import Cleaning, DataError, DataSpec
from search.errors import SearchError
from search.options import parse_duration

OF_THE_SEARCH = {
    "--trials": "n_trials",
    "--workers": "num_workers",
    "--epochs": "max_epochs",
    "--dim": "embedding_dim",
}
OF_THE_DATA = {
    "--min-rows": "min_rows",
    "--sample": "sample",
    "--max-vocabulary": "max_vocabulary",
    "--min-count": "min_count",
}


def test_the_defaults_are_fine(options):
    options.check()


@pytest.mark.parametrize("number", [0, -3])
@pytest.mark.parametrize("option", OF_THE_SEARCH)
def test_a_number_below_one_is_refused_by_its_option(options, option, number):
    wrong = dataclasses.replace(options, **{OF_THE_SEARCH[option]: number})
    with pytest.raises(SearchError, match=f"^{option} is {number}; .*from 1$"):
        wrong.check()


@pytest.mark.parametrize("option", OF_THE_SEARCH)
def test_one_is_enough(options, option):
    dataclasses.replace(options, **{OF_THE_SEARCH[option]: 1}).check()


@pytest.mark.parametrize("option", OF_THE_DATA)
def test_a_number_of_the_data_below_one_is_refused_by_its_option(options, option):
    # Wherever it is noticed, the user is told the option.
    with pytest.raises((SearchError, DataError), match=f"{option} .*0"):
        data = DataSpec(**{OF_THE_DATA[option]: 0})
        dataclasses.replace(options, data=data).check()


def test_words_of_no_letters_are_refused(options):
    data = DataSpec(cleaning=Cleaning(min_letters=0))
    with pytest.raises(SearchError, match="^--min-letters is 0"):
        dataclasses.replace(options, data=data).check()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_would_refuse_is_refused(options, seed):
    with pytest.raises(SearchError, match=f"^--seed is {seed}; .*4294967295"):
        dataclasses.replace(options, seed=seed).check()


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_ends_of_the_range_of_seeds_are_fine(options, seed):
    dataclasses.replace(options, seed=seed).check()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("90", 90.0),
        ("90s", 90.0),
        ("20m", 1200.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        (" 3m ", 180.0),
        ("0.5s", 0.5),
    ],
)
def test_a_duration_is_read_in_its_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.0h", "-5m", "5x", "1h30m", "h", "1e3", "5 m", "nan"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(SearchError, match="^--timeout is .*20m"):
        parse_duration(text)


ONE_CONFIGURATION = (
    "hidden_sizes=none dropout=0.3 freeze_embeddings=no pooling=mean batch_size=256 "
    "learning_rate=0.005 weight_decay=0.1 class_weight_power=0 logit_adjustment=1"
).split()


def test_one_configuration_is_one_trial_unless_something_is_left_to_search(options):
    open_end = dataclasses.replace(options, n_trials=None)
    assert open_end.budget == 50
    assert dataclasses.replace(open_end, settings=tuple(ONE_CONFIGURATION)).budget == 1
    assert dataclasses.replace(open_end, settings=tuple(ONE_CONFIGURATION[1:])).budget == 50


def test_more_trials_of_one_configuration_are_refused(options):
    one = dataclasses.replace(options, n_trials=2, settings=tuple(ONE_CONFIGURATION))
    with pytest.raises(SearchError, match="--trials is 2, but --set leaves one configuration"):
        one.check()


def test_settings_are_checked_against_the_models_space(options):
    with pytest.raises(SearchError, match="only cnn has it"):
        dataclasses.replace(options, settings=("num_filters=100",)).check()
    dataclasses.replace(options, model="cnn", settings=("num_filters=100",)).check()


@pytest.mark.parametrize("name", ["", " ", ".", "..", "caf\udce9", "a\0b", "x" * 513])
def test_a_name_that_no_study_can_have_is_refused_in_one_line(options, name):
    with pytest.raises(SearchError, match="give another with --study NAME") as caught:
        dataclasses.replace(options, study_name=name).check()
    assert str(caught.value).encode().isascii()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 512, "...", "a b/ñ", "..x"])
def test_other_names_are_fine(options, name):
    dataclasses.replace(options, study_name=name).check()


@pytest.mark.parametrize("option", ["--data", "--vectors"])
def test_a_file_whose_name_is_not_utf8_is_refused(options, option):
    name = "caf\udce9.csv"
    given = {"--data": {"data": DataSpec(source=name)}, "--vectors": {"vectors": Path(name)}}
    with pytest.raises(SearchError, match=f"{option} .* is not UTF-8"):
        dataclasses.replace(options, **given[option]).check()
