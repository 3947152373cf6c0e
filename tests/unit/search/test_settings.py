"""What defines a study, and when a study may go on."""

from __future__ import annotations

import dataclasses
import json

import pytest

from data_utils import Cleaning, DataSpec
from search.configurations import spelled
from search.errors import SearchError
from search.limits import described
from search.settings import IDENTITY, StudySettings

OTHER = {
    "model": "cnn",
    "data_fingerprint": "d2",
    "vectors_fingerprint": "v2",
    "max_epochs": 7,
    "seed": 99,
    "fixed_params": {"dropout": 0.25},
    "space": 1000,
    "objectives": ("balanced_accuracy", "latency"),
    "limits": {"size_mb": 20.0, "latency_ms": 0.5},
}
ADVICE = {
    "model": "--model",
    "data_fingerprint": "--data",
    "vectors_fingerprint": "--vectors",
    "max_epochs": "--epochs",
    "seed": "--seed",
    "fixed_params": "--set",
    "space": "version of this program",
    "objectives": "--objectives",
    "limits": "--max-size-mb",
}


def test_settings_survive_json(settings):
    assert StudySettings.from_json(settings.to_json()) == settings


def test_settings_with_several_objectives_survive_json(settings):
    several = dataclasses.replace(settings, objectives=("balanced_accuracy", "latency", "size"))
    assert StudySettings.from_json(several.to_json()) == several


def test_a_study_with_one_objective_is_stored_and_read_as_before_there_could_be_several(settings):
    assert "objectives" not in json.loads(settings.to_json())
    assert StudySettings.from_json(settings.to_json()).objectives == ("balanced_accuracy",)


def test_a_data_spec_survives_the_settings(settings):
    spec = DataSpec(source="a.csv", min_rows=3, text_column="t", label_column="l")
    stored = dataclasses.replace(settings, data=dataclasses.asdict(spec))
    assert StudySettings.from_json(stored.to_json()).data_spec() == spec


def test_a_study_from_before_there_were_versions_of_the_cleaning_has_the_first(settings):
    data = dataclasses.asdict(DataSpec(source="a.csv"))
    assert dataclasses.replace(settings, data=data).data_spec().cleaning == Cleaning()
    del data["cleaning"]["version"]
    stored = StudySettings.from_json(dataclasses.replace(settings, data=data).to_json())
    assert stored.data_spec().cleaning == Cleaning(version=1)


@pytest.mark.parametrize("change", ["lost", "unknown"])
def test_settings_of_another_version_are_refused_with_a_way_out(settings, change):
    values = json.loads(settings.to_json())
    if change == "lost":
        del values["sampler"]
    else:
        values["colour"] = "blue"
    with pytest.raises(SearchError, match="another version.*--study NEW_NAME"):
        StudySettings.from_json(json.dumps(values))


def test_equal_settings_continue(settings):
    settings.check_continues(StudySettings.from_json(settings.to_json()), "mine")


def test_another_sampler_pruner_or_path_continues(settings):
    other = dataclasses.replace(
        settings, sampler="random", pruner="none", data={"source": "/elsewhere"}, vectors="v.vec"
    )
    other.check_continues(settings, "mine")


def test_every_field_of_the_identity_is_tried_here():
    assert set(OTHER) == set(ADVICE) == set(IDENTITY)


@pytest.mark.parametrize("name", IDENTITY)
def test_what_differs_is_named_in_one_line_with_the_option_and_both_values(settings, name):
    stored = dataclasses.replace(settings, **{name: OTHER[name]})
    with pytest.raises(SearchError) as caught:
        settings.check_continues(stored, "mine")
    line = str(caught.value)
    assert "\n" not in line
    assert "study 'mine'" in line and ADVICE[name] in line and "--study NEW_NAME" in line
    for value in (OTHER[name], getattr(settings, name)):
        in_words = described if name == "limits" else spelled
        shown = (in_words(value) or "none") if isinstance(value, dict) else str(value)
        shown = ",".join(value) if isinstance(value, tuple) else shown
        assert shown in line
    assert not any(advice in line for other, advice in ADVICE.items() if other != name)
