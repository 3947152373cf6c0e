"""Copying a study from one kind of database to the other, and going on there."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections import Counter
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from optuna_dashboard.artifact._backend import list_trial_artifacts
from sqlalchemy import select

import studies
from search.dashboard.attributes import artifact_address, artifact_attribute
from search.errors import SearchError, StorageError
from search.results.copying import read_study, write_study
from search.results.own_files import own_files
from search.storage.budget import set_budget
from search.storage.opening import open_database
from search.storage.rows import models
from search.storage.trial_queue import claim, release
from search.study import KEY_ATTR, ORIGIN_KEY_ATTR
from search.workers.loop import run_worker

PASSWORD = "p4ss-word"
SPACE = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "width": IntDistribution(1, 1024, log=True),
    "kind": CategoricalDistribution(("one", 2, 3.5, None, True)),
}
PARAMS = {"rate": 0.1 + 0.2, "step": 0.3, "width": 77, "kind": None}


@pytest.fixture
def opened():
    """Open a database for the test's time."""
    found = []

    def open_one(url):
        found.append(open_database(url, heartbeat_seconds=1, grace_seconds=3, outage_seconds=20))
        return found[-1]

    yield open_one
    for storage in found:
        storage.close()


@pytest.fixture
def source(url, opened):
    return opened(url)


@pytest.fixture
def target_url(url, postgres, tmp_path):
    """An empty database of the other kind; other studies' rows keep the ids apart."""
    other = postgres.new_database() if url.startswith("sqlite") else f"sqlite:///{tmp_path}/to.db"
    storage = open_database(other)
    study = optuna.create_study(storage=storage, study_name="there before")
    study.add_trials([create_trial(value=1.0)] * 3)
    storage.close()
    return other


@pytest.fixture
def target(target_url, opened):
    return opened(target_url)


def finished(number):
    began = datetime(2025, 5, 5, 5, 5, 5, 123456) + timedelta(microseconds=number)
    trial = create_trial(
        value=(0.1 + 0.2) / (number + 1),
        params=PARAMS,
        distributions=SPACE,
        user_attrs={"text": "emoji 🎈 \x00 NUL", "list": [1, {"deep": None}]},
        system_attrs={"constraint": [0.5]},
        intermediate_values={1: 1 / 3, 2: math.inf, 3: math.nan, 7: -math.inf},
    )
    trial.datetime_start, trial.datetime_complete = began, began + timedelta(seconds=1 / 3)
    return trial


def make(storage, name="moving"):
    """A study with trials in all states, one of a dead worker, and notes of the dashboard."""
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_metric_names(["balanced accuracy"])
    study.set_user_attr(KEY_ATTR, "its-key")
    study.set_user_attr("settings", '{"a": 1}')
    set_budget(storage, study._study_id, n_trials=6, timeout_seconds=3600)
    for number in range(2):
        study.add_trial(finished(number))
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.25))
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=-math.inf))
    study.enqueue_trial(PARAMS, user_attrs={"baseline": "first"})
    study.enqueue_trial(PARAMS)
    failed = claim(storage, study._study_id, token="a", worker="host:1")
    storage.set_trial_intermediate_value(failed.trial_id, 1, 0.5)
    release(storage, failed.trial_id, reason="out of memory", max_failures=3, error="Trace\nback")
    dead = claim(storage, study._study_id, token="b", worker="host:2")
    silence(storage, dead.trial_id)
    for trial_id, note in (
        (None, "about the study"),
        (study.trials[1]._trial_id, "about trial 1"),
    ):
        save_note_with_version(storage, study._study_id, trial_id, 1, note)
    return study


def silence(storage, trial_id):
    def work(session, again):
        models.TrialHeartbeatModel.where_trial_id(trial_id, session).heartbeat -= timedelta(days=1)

    storage.transaction(work)


def comparable(trial):
    """Everything that Optuna tells of a trial but the database's own id; NaN equals itself."""
    curve = {step: repr(value) for step, value in trial.intermediate_values.items()}
    facts = (trial.number, trial.state, trial.values, trial.params, trial.distributions)
    times = (trial.datetime_start, trial.datetime_complete)
    return (*facts, *times, trial.user_attrs, trial.system_attrs, curve)


def note_of(study, trial_id=None):
    """What the dashboard shows as the note of the study or of a trial."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return get_note_from_system_attrs(attributes, trial_id)["body"]


def heartbeats(storage):
    def work(session, again):
        beat = models.TrialHeartbeatModel.heartbeat
        return [row for (row,) in session.execute(select(beat).order_by(beat))]

    return storage.transaction(work, reading=True)


def study_names(storage):
    return set(optuna.get_all_study_names(storage))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_copy_has_all_that_the_study_had(source, target):
    study = make(source)
    write_study(read_study(source, "moving"), target)
    copy = optuna.load_study(study_name="moving", storage=target)
    assert {trial.state for trial in study.trials} == set(TrialState)
    assert list(map(comparable, copy.trials)) == list(map(comparable, study.trials))
    own = {KEY_ATTR: copy.user_attrs[KEY_ATTR], ORIGIN_KEY_ATTR: "its-key"}
    assert copy.user_attrs == study.user_attrs | own
    assert copy.directions == study.directions
    assert copy.metric_names == study.metric_names
    assert heartbeats(target) == heartbeats(source)
    assert note_of(copy) == "about the study"
    notes = [note_of(copy, trial._trial_id) for trial in copy.trials]
    assert notes == ["", "about trial 1"] + [""] * (len(notes) - 2)


def test_times_in_the_hour_that_a_clock_shows_twice_are_kept(source, target, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        study = optuna.create_study(storage=source, study_name="moving")
        study.add_trials([create_trial(value=1.0), create_trial(value=2.0)])
        utc = [datetime(2025, 11, 2, hour, 30, 0, 1) for hour in (5, 6)]  # 1:30, and 1:30 again
        column = models.TrialModel._datetime_start_utc

        def write(session, again):
            for trial, moment in zip(session.query(models.TrialModel), utc, strict=True):
                trial._datetime_start_utc = moment

        def read(session, again):
            trials = session.query(column).join(models.StudyModel)
            named = trials.filter(models.StudyModel.study_name == "moving")
            return [row for (row,) in named.order_by(models.TrialModel.number)]

        source.transaction(write)
        write_study(read_study(source, "moving"), target)
        assert target.transaction(read, reading=True) == utc
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_copy_goes_on_to_exactly_its_budget(source, target):
    make(source)
    write_study(read_study(source, "moving"), target)

    def objective(attempt):
        attempt.suggest(lambda trial: [trial.suggest_float("rate", 1e-5, 1.0, log=True)])
        return 0.5

    run_worker(
        "moving",
        target,
        objective,
        make_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
        pruner=optuna.pruners.NopPruner(),
        seed=1,
    )
    copy = optuna.load_study(study_name="moving", storage=target)
    states = Counter(trial.state.name for trial in copy.trials)
    assert states["COMPLETE"] + states["PRUNED"] == 6
    assert states["RUNNING"] == 0
    dead = [t for t in copy.trials if "no sign of life" in t.user_attrs.get("fail_reason", "")]
    assert len(dead) == 1  # the dead worker's trial was found by its heartbeat, copied too
    assert [trial.number for trial in copy.trials] == list(range(len(copy.trials)))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("new_name", ["twin", "moving", None])
def test_a_copy_is_a_study_of_its_own_that_remembers_its_original(source, target, new_name):
    study = make(source)
    place = source if new_name == "twin" else target
    write_study(read_study(source, "moving", new_name), place)
    copy = optuna.load_study(study_name=new_name or "moving", storage=place)
    assert list(map(comparable, copy.trials)) == list(map(comparable, study.trials))
    assert copy.user_attrs[KEY_ATTR] not in ("its-key", "")
    assert copy.user_attrs[ORIGIN_KEY_ATTR] == "its-key"
    assert ORIGIN_KEY_ATTR not in study.user_attrs
    assert note_of(copy, copy.trials[1]._trial_id) == "about trial 1"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_copy_of_a_copy_remembers_the_copy(source, target):
    make(source)
    write_study(read_study(source, "moving", "second"), source)
    second = optuna.load_study(study_name="second", storage=source).user_attrs[KEY_ATTR]
    write_study(read_study(source, "second", "third"), target)
    third = optuna.load_study(study_name="third", storage=target).user_attrs
    assert third[ORIGIN_KEY_ATTR] == second
    assert len({"its-key", second, third[KEY_ATTR]}) == 3


def test_a_study_of_another_program_is_copied_as_it_is(source, target):
    optuna.create_study(storage=source, study_name="plain").set_user_attr("a", 1)
    write_study(read_study(source, "plain"), target)
    assert optuna.load_study(study_name="plain", storage=target).user_attrs == {"a": 1}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_notes_on_trials_of_other_studies_reach_no_trial_of_the_copy(source, target):
    study = make(source)
    # `optuna.copy_study` leaves such: ids of trials that are elsewhere, low and high ones.
    for trial_id in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 10**9):
        if trial_id not in {trial._trial_id for trial in study.trials}:
            save_note_with_version(source, study._study_id, trial_id, 1, f"on {trial_id}")
    write_study(read_study(source, "moving"), target)
    copy = optuna.load_study(study_name="moving", storage=target)
    notes = [note_of(copy, trial._trial_id) for trial in copy.trials]
    assert notes == ["", "about trial 1"] + [""] * (len(notes) - 2)
    assert note_of(copy) == "about the study"


@pytest.mark.parametrize("name", ["", " ", ".", "..", "caf\udce9", "x" * 513])
def test_a_copy_gets_no_name_that_a_study_cannot_have(source, target, name):
    optuna.create_study(storage=source, study_name="plain")
    with pytest.raises(SearchError, match="--as NAME") as caught:
        read_study(source, "plain", name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_study_of_an_impossible_name_is_copied_under_another(source, target, name):
    optuna.create_study(storage=source, study_name=name).set_user_attr(KEY_ATTR, "its-key")
    with pytest.raises(SearchError, match="--as NAME"):
        read_study(source, name)
    write_study(read_study(source, name, "possible"), target)
    copy = optuna.load_study(study_name="possible", storage=target)
    assert copy.user_attrs[ORIGIN_KEY_ATTR] == "its-key"


def shown(study, folder):
    """The file that the picture in the note of trial 1 shows."""
    trial_id = study.trials[1]._trial_id
    [address] = re.findall(r"\((.*?)\)", note_of(study, trial_id))
    attributes = study._storage.get_study_system_attrs(study._study_id)
    [file] = list_trial_artifacts(attributes, {}, study.trials[1])
    assert address == f"/artifacts/{study._study_id}/{trial_id}/{file['artifact_id']}"
    return folder / file["artifact_id"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_copy_has_pictures_of_its_own_in_its_notes(source, target, tmp_path):
    study, name = make(source), str(uuid.uuid4())
    (tmp_path / name).write_text("picture")
    trial_id = study.trials[1]._trial_id
    note = f"![curve]({artifact_address(study._study_id, trial_id, name)})"
    save_note_with_version(source, study._study_id, trial_id, 2, note)
    for key, value in artifact_attribute(trial_id, name, name="a.svg", kind="svg").items():
        source.set_study_system_attr(study._study_id, key, value)
    with own_files(read_study(source, "moving"), tmp_path) as rows:
        write_study(rows, target)
    copy = optuna.load_study(study_name="moving", storage=target)
    original = shown(study, tmp_path)
    assert shown(copy, tmp_path) != original
    assert shown(copy, tmp_path).read_text() == original.read_text() == "picture"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_copy_that_fails_leaves_no_pictures(source, target, tmp_path):
    study, name, folder = make(source), str(uuid.uuid4()), tmp_path / "artifacts"
    folder.mkdir()
    (folder / name).write_text("picture")
    for key, value in artifact_attribute(1, name, name="a.svg", kind="svg").items():
        source.set_study_system_attr(study._study_id, key, value)
    make(target)
    with (
        pytest.raises(SearchError, match="exists in"),
        own_files(read_study(source, "moving"), folder) as rows,
    ):
        write_study(rows, target)
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_name_that_is_taken_is_refused_and_left_as_it_is(source, target):
    make(source, "there before")
    with pytest.raises(SearchError, match="'there before' exists .* --as NAME"):
        write_study(read_study(source, "there before"), target)
    assert len(optuna.load_study(study_name="there before", storage=target).trials) == 3


def test_a_study_with_a_living_worker_is_refused(source):
    study = optuna.create_study(storage=source, study_name="busy")
    set_budget(source, study._study_id, n_trials=5)
    claim(source, study._study_id, token="a", worker="host:1")
    with pytest.raises(SearchError, match="workers are at the study: trial 0 is running"):
        read_study(source, "busy")


def test_an_unknown_study_is_refused(source):
    with pytest.raises(SearchError, match="there is no study 'nowhere'"):
        read_study(source, "nowhere")


def test_a_copy_that_fails_leaves_no_half_study(postgres, opened, tmp_path):
    source = opened(f"sqlite:///{tmp_path}/from.db")
    target = opened(postgres.new_database())
    study = optuna.create_study(storage=source, study_name="long")
    # SQLite takes keys of any length, PostgreSQL does not; attributes of trials are written last.
    study.add_trial(create_trial(value=1.0, user_attrs={"k" * 2000: "v"}))
    with pytest.raises(StorageError, match="study 'long' was not copied") as caught:
        write_study(read_study(source, "long"), target)
    assert "\n" not in str(caught.value)
    assert study_names(target) == set()


def test_the_command_copies_and_shows_no_password(postgres, tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/from.db"
    source, target_url = open_database(url), postgres.new_database()
    optuna.create_study(storage=source, study_name="one").add_trial(create_trial(value=1.0))
    source.close()
    command = ["copy", "--study", "one", "--storage", url, "--to", target_url]
    assert studies.main(command) == 0
    assert studies.main(command) == 2
    assert studies.main(["list", "--storage", target_url]) == 0
    captured = capsys.readouterr()
    assert "copied study one with 1 trials" in captured.out
    assert "error: study 'one' exists" in captured.err
    assert PASSWORD not in captured.out + captured.err


def test_a_copy_of_nothing_makes_no_database(tmp_path, capsys):
    open_database(f"sqlite:///{tmp_path}/from.db").close()
    command = ["copy", "--study", "x", "--storage", f"sqlite:///{tmp_path}/from.db"]
    assert studies.main([*command, "--to", f"sqlite:///{tmp_path}/to.db"]) == 2
    assert "there is no study 'x'" in capsys.readouterr().err
    assert not (tmp_path / "to.db").exists()
