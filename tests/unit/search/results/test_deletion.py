"""Deleting a study: all of it, nothing else, and not under a worker's hands."""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta

import optuna
import pytest
from optuna.trial import create_trial

from search.checkpoints import CheckpointStore
from search.dashboard.attributes import artifact_attribute
from search.errors import SearchError
from search.folders import OutputFolder
from search.results.deletion import delete_study, refuse_deletion
from search.results.finding import find_study
from search.storage.opening import open_storage
from search.storage.rows import models
from search.storage.trial_queue import claim
from search.study import KEY_ATTR


def rows(storage):
    """Table -> how many rows."""

    def work(session, again):
        tables = models.BaseModel.metadata.sorted_tables
        return {table.name: session.query(table).count() for table in tables}

    return storage.transaction(work, reading=True)


def fill(storage, study):
    study.set_user_attr("a", 1)
    study._storage.set_study_system_attr(study._study_id, "b", 2)
    study.enqueue_trial({"x": 1})
    trial = create_trial(
        value=0.5, user_attrs={"u": 1}, system_attrs={"s": 1}, intermediate_values={1: 0.25}
    )
    study.add_trial(trial)
    return claim(storage, study._study_id, token=study.study_name, worker="host:1")


def age(storage, seconds):
    def work(session, again):
        for beat in session.query(models.TrialHeartbeatModel):
            beat.heartbeat -= timedelta(seconds=seconds)

    storage.transaction(work)


def test_a_deleted_study_leaves_no_row_and_others_theirs(storage, new_study, tmp_path):
    fill(storage, new_study(n_trials=5, name="kept"))
    before = rows(storage)
    study = new_study(n_trials=5, name="gone")
    fill(storage, study)
    age(storage, storage.grace_seconds + 1)
    assert rows(storage)["trials"] == 2 * before["trials"]
    delete_study(storage, study, out=tmp_path)
    assert rows(storage) == before


def test_its_checkpoints_go_and_those_of_others_stay(storage, new_study, tmp_path):
    folder = OutputFolder(tmp_path).checkpoints
    stores = {key: CheckpointStore(folder, key, fingerprints={}) for key in ("k1", "k2")}
    for store in stores.values():
        store.save(0, {"x": 1}, step=4, configuration="c")
    study = new_study(name="k2")  # another study has this name for its key
    study.set_user_attr(KEY_ATTR, "k1")
    delete_study(storage, study, out=tmp_path)
    assert stores["k1"].step(0) == 0
    assert stores["k2"].step(0) == 4


@pytest.mark.parametrize("name", ["..", ".", "", "../..", "kept/.."])
@pytest.mark.parametrize("has_key", [True, False])
def test_nothing_outside_of_its_folder_goes_whatever_the_study_is_called(
    storage, new_study, tmp_path, name, has_key
):
    out = OutputFolder(tmp_path / "runs")
    for folder in (out.checkpoints / "kept", out.exports / "kept", out.cache, tmp_path / "else"):
        folder.mkdir(parents=True)
        (folder / "trial-0-step-4.pt").write_text("keep")
    before = sorted(tmp_path.rglob("*.pt"))
    study = new_study(name=name)
    if has_key:  # anybody writes what they like into a database
        study.set_user_attr(KEY_ATTR, name)
    delete_study(storage, study, out=out.root)
    assert sorted(tmp_path.rglob("*.pt")) == before
    assert rows(storage)["studies"] == 0


def test_the_answer_to_the_question_deletes_no_other_study(storage, new_study, tmp_path):
    new_study(name="one").set_user_attr(KEY_ATTR, "first")
    study = find_study(storage, "one")
    with contextlib.closing(open_storage(storage.display_url)) as elsewhere:
        optuna.delete_study(study_name="one", storage=elsewhere)
        new = optuna.create_study(study_name="one", storage=elsewhere)
        new.set_user_attr(KEY_ATTR, "second")
        assert new._study_id == study._study_id
        with pytest.raises(SearchError, match="deleted"):
            delete_study(storage, study, out=tmp_path)
        assert new.user_attrs == {KEY_ATTR: "second"}


def test_its_pictures_go_and_those_that_others_show_too_stay(storage, new_study, tmp_path):
    folder = OutputFolder(tmp_path).dashboard_artifacts
    folder.mkdir()
    names = {whose: str(uuid.uuid4()) for whose in ("own", "uploaded", "shared", "other's")}
    for name in names.values():
        (folder / name).write_text("picture")
    kept, gone = new_study(name="kept"), new_study(name="gone")
    for study, shown in ((kept, ("other's", "shared")), (gone, ("own", "shared"))):
        for whose in shown:
            attribute = artifact_attribute(1, names[whose], name="a.svg", kind="image/svg+xml")
            for key, value in attribute.items():
                storage.set_study_system_attr(study._study_id, key, value)
    by_hand = {f"artifacts:{names['uploaded']}": "{}", "artifacts:../../kept": "{}"}
    gone.add_trial(create_trial(value=0.5, system_attrs=by_hand))
    delete_study(storage, gone, out=tmp_path)
    assert {path.name for path in folder.iterdir()} == {names["shared"], names["other's"]}


def test_a_study_with_a_living_worker_is_refused_unless_forced(storage, new_study, tmp_path):
    study = new_study(n_trials=5, name="busy")
    fill(storage, study)
    before = rows(storage)
    with pytest.raises(SearchError, match="workers are at the study: trial 0 is running"):
        refuse_deletion(storage, study)
    with pytest.raises(SearchError, match="--force"):
        delete_study(storage, study, out=tmp_path)
    assert rows(storage) == before
    delete_study(storage, study, out=tmp_path, force=True)
    assert rows(storage)["studies"] == 0


def test_what_a_dead_worker_left_is_no_obstacle(storage, new_study, tmp_path):
    study = new_study(n_trials=5, name="left")
    fill(storage, study)
    age(storage, storage.grace_seconds + 1)
    delete_study(storage, study, out=tmp_path)
    assert rows(storage)["trials"] == 0


def test_a_deletion_whose_answer_was_lost_is_not_an_error(
    storage, new_study, tmp_path, lose_answers
):
    study = new_study(name="gone")
    with lose_answers(storage, 1):
        delete_study(storage, study, out=tmp_path)
    assert rows(storage)["studies"] == 0
