"""The note on a study, as optuna-dashboard reads it."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.dashboard.attributes import note_in
from search.dashboard.note import refresh_note, start_note, table
from search.study import BASELINE_ATTR


@pytest.fixture
def study(storage):
    return optuna.create_study(study_name="noted", storage=storage, direction="maximize")


def complete(study, value, **attributes):
    trial = create_trial(value=value, state=TrialState.COMPLETE, user_attrs=attributes)
    study.add_trial(trial)


def note_of(storage, study):
    return note_in(storage.get_study_system_attrs(study._study_id))


def write(storage, study, text):
    """As the dashboard does when a person edits the note."""
    from optuna_dashboard import save_note

    save_note(study, text)
    assert note_of(storage, study) == text


def test_a_new_note_sums_up_data_and_space(storage, study, settings, inputs):
    start_note(storage, study, settings, inputs.prepared)
    note = note_of(storage, study)
    for row in (
        "No trial is COMPLETE yet",
        "| titles | 600 |",
        "| categories | 3 |",
        f"| train part | {len(inputs.prepared.train)} titles |",
        "| dropout | 0.0 to 0.7 |",
        "| learning\\_rate | 0.0005 to 0.02, logarithmic |",
    ):
        assert row in note, row


def test_the_note_names_categories_that_a_part_lacks(storage, study, settings, inputs):
    prepared = inputs.prepared
    last = len(prepared.labels) - 1
    kept = prepared.validation.labels != last
    validation = replace(prepared.validation, labels=prepared.validation.labels[kept])
    start_note(storage, study, settings, replace(prepared, validation=validation))
    note = note_of(storage, study)
    assert f"| categories without validation titles | 1 ({prepared.labels[last]}, 3" in note
    assert "without test titles" not in note and "without train titles" not in note


def test_the_note_names_the_best_trial_and_its_lead_over_the_baselines(
    storage, study, settings, inputs
):
    start_note(storage, study, settings, inputs.prepared)
    complete(study, 0.4, **{BASELINE_ATTR: "by hand"})
    complete(study, 0.55)
    complete(study, 0.5)
    note = refresh_note(storage, study)
    assert note == note_of(storage, study)
    assert "**Trial 1: 0.5500** balanced accuracy on validation, +15.0 points" in note
    assert "| 0 | by hand | COMPLETE | 0.4000 |" in note
    assert refresh_note(storage, study) == ""


def test_the_dashboard_reads_the_note_after_it_became_shorter_too(
    storage, study, settings, inputs
):
    from optuna_dashboard import get_note

    write(storage, study, "long " * 2000 + "\n## Data\nmine")
    complete(study, 0.5)
    note = refresh_note(storage, study)
    assert len(note) < 2000 and note.endswith("mine")
    assert get_note(study) == note


def test_what_a_person_writes_stays(storage, study, settings, inputs):
    start_note(storage, study, settings, inputs.prepared)
    write(storage, study, note_of(storage, study) + "\nAsk Ana about batch sizes.")
    complete(study, 0.5)
    assert refresh_note(storage, study).endswith("\nAsk Ana about batch sizes.")
    write(storage, study, "All mine.")
    complete(study, 0.6)
    assert refresh_note(storage, study) == ""
    start_note(storage, study, settings, inputs.prepared)
    assert note_of(storage, study) == "All mine."


def test_text_of_the_data_is_no_markdown():
    cell = "a\\|b \\*c\\* &lt;d&gt; \\[e\\](f)"
    assert table(("of the data",), [("a|b *c*\n<d> [e](f)",)]).endswith(f"\n| {cell} |\n")
