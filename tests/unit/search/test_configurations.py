"""What a user writes down as ``--set name=value``."""

from __future__ import annotations

import pytest

from models import MODELS
from search.configurations import (
    check_params,
    distributions,
    fitting,
    is_complete,
    parse_settings,
    pinned_grid,
    spelled,
)
from search.errors import SearchError
from search.spaces import baselines, good_starts, grid


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return request.param


def refusal(*settings, model="mlp", max_epochs=5):
    with pytest.raises(SearchError) as caught:
        parse_settings(list(settings), model, max_epochs)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("dropout=0.3", {"dropout": 0.3}),
        (" dropout = 3e-1 ", {"dropout": 0.3}),
        ("batch_size=256", {"batch_size": 256}),
        ("freeze_embeddings=yes", {"freeze_embeddings": True}),
        ("freeze_embeddings=False", {"freeze_embeddings": False}),
        ("hidden_sizes=none", {"num_layers": 0}),
        ("hidden_sizes=512, 64", {"num_layers": 2, "hidden_size_1": 512, "hidden_size_2": 64}),
        ("hidden_size_2=64", {"hidden_size_2": 64}),
    ],
)
def test_a_setting_is_read_as_the_study_stores_it(model, text, params):
    read = parse_settings([text], model, 5)
    assert read == params
    assert {name: type(value) for name, value in read.items()} == {
        name: type(value) for name, value in params.items()
    }


@pytest.mark.parametrize("text", ["filter_lengths=2,3,4", "filter_lengths=[2, 3, 4]"])
def test_filter_lengths_may_be_written_as_a_list(text):
    assert parse_settings([text], "cnn", 5) == {"filter_lengths": "2,3,4"}


def test_what_is_spelled_reads_back_as_it_was(model):
    for params in [*good_starts(model, 5), *baselines(model, 5).values()]:
        assert parse_settings(spelled(params).split(), model, 5) == params


def test_named_configurations_leave_nothing_open(model):
    params = good_starts(model, 5)[0]
    assert is_complete(params, model, 5)
    for name in params:
        assert not is_complete({k: v for k, v in params.items() if k != name}, model, 5)


def test_a_mistyped_name_is_answered_with_the_likely_one():
    assert refusal("dropuot=0.3") == "the mlp has no parameter 'dropuot'; did you mean dropout?"


def test_an_unknown_name_is_answered_with_those_that_there_are():
    line = refusal("colour=3")
    assert "batch_size" in line and "hidden_sizes" in line


def test_a_parameter_of_another_model_is_told_from_an_unknown_one():
    assert "only cnn has it" in refusal("num_filters=100")


@pytest.mark.parametrize("name", ["epochs", "num_epochs", "seed"])
def test_what_has_an_option_is_sent_there(name):
    assert f"--{name.removeprefix('num_')}" in refusal(f"{name}=3")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("dropout=0.9", "0.0 to 0.7"),
        ("dropout=nan", "0.0 to 0.7"),
        ("dropout=much", "0.0 to 0.7"),
        ("batch_size=100", "128 | 256 | 512"),
        ("freeze_embeddings=2", "yes | no"),
        ("num_layers=1.5", "a whole number, 0 to 4"),
        ("hidden_sizes=512,30", "hidden_size_2=30 is not in the search space"),
        ("hidden_sizes=512,,64", "hidden_size_2="),
        ("hidden_sizes=64,64,64,64,64", "5 layers; give at most 4"),
    ],
)
def test_a_value_outside_of_the_space_is_answered_with_the_space(text, wanted):
    assert wanted in refusal(text)


@pytest.mark.parametrize("text", ["dropout", "dropout=", "=0.3", ""])
def test_what_is_no_setting_is_answered_with_an_example(text):
    assert "NAME=VALUE" in refusal(text)


def test_epochs_of_a_cnn_end_at_those_of_the_study():
    assert parse_settings(["num_epochs=3"], "cnn", 3) == {"num_epochs": 3}
    assert "2 to 3" in refusal("num_epochs=4", model="cnn", max_epochs=3)


@pytest.mark.parametrize(
    "settings", [("dropout=0.1", "dropout=0.2"), ("num_layers=2", "hidden_sizes=64")]
)
def test_two_values_of_one_parameter_are_refused(settings):
    assert "twice" in refusal(*settings)


def test_the_same_said_twice_is_no_mistake():
    settings = ["num_layers=1", "hidden_sizes=64", "num_layers=1"]
    assert parse_settings(settings, "mlp", 5) == {"num_layers": 1, "hidden_size_1": 64}


def test_a_parameter_that_the_others_rule_out_is_refused():
    line = refusal("num_layers=1", "hidden_size_3=100")
    assert "hidden_size_3 is not asked for with num_layers=1" in line


def test_a_stored_value_of_another_type_is_refused():
    with pytest.raises(SearchError, match="freeze_embeddings"):
        check_params({"freeze_embeddings": 1}, "mlp", 5)


def test_what_fits_another_space_is_kept_and_the_rest_is_named():
    kept, refused = fitting({**good_starts("cnn", 5)[0], "num_epochs": 9}, "cnn", 5)
    assert "num_epochs" not in kept and set(kept) == set(good_starts("cnn", 5)[0]) - {"num_epochs"}
    assert [text for text in refused if "num_epochs=9" in text] == refused
    kept, refused = fitting(good_starts("cnn", 5)[0], "mlp", 5)
    assert set(kept) == set(good_starts("mlp", 5)[0]) - {"pooling"}
    assert {text.partition("=")[0] for text in refused} == {
        "num_filters",
        "filter_lengths",
        "num_epochs",
    }


def test_a_grid_takes_fixed_values_in_place_of_its_own():
    points = pinned_grid("mlp", 5, {"dropout": 0.5, "num_layers": 1, "hidden_size_1": 64})
    assert points["dropout"] == [0.5] and points["hidden_size_1"] == [64]
    assert points["batch_size"] == grid("mlp", 5)["batch_size"]


@pytest.mark.parametrize(
    ("fixed", "lacking"), [({"num_layers": 1}, "hidden_size_1"), ({"hidden_size_2": 64}, "_2")]
)
def test_a_grid_that_the_fixed_values_break_is_refused(fixed, lacking):
    with pytest.raises(SearchError, match=lacking):
        pinned_grid("mlp", 5, fixed)


def test_the_space_beside_fixed_values_has_only_what_may_be_asked_for(model):
    found = distributions(model, 5, (("num_layers", 1),))
    assert {name for name in found if name.startswith("hidden_size_")} == {"hidden_size_1"}
