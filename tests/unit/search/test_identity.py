"""A study is its key: what is done for one that was deleted never reaches another in its place."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from search.enqueueing import enqueue_configuration
from search.errors import Fenced, SearchError, StudyDeleted
from search.storage.budget import set_budget
from search.storage.control import (
    cancel,
    control_of,
    lift_stop,
    pause,
    read_orders,
    resume,
    stop,
)
from search.storage.failures import stop_if_failing
from search.storage.heartbeat import adopt, give_sign, look_around
from search.storage.identity import KEY_ATTR, fenced, give_key, identity_of
from search.storage.opening import open_storage
from search.storage.retries import resume_at
from search.storage.rows import models
from search.storage.system_attributes import swap_system_attributes
from search.storage.trial_queue import claim, claimed_by, enqueue, release
from search.storage.user_attributes import write_user_attributes
from search.study import open_study, settings_to_join
from search.workers.loop import run_worker

CHANGES = {
    "claim": lambda storage, study: claim(storage, study, token="t", worker="host:1"),
    "enqueue": lambda storage, study: enqueue(storage, study, {"x": 1}, user_attrs={}),
    "set_budget": lambda storage, study: set_budget(storage, study, n_trials=9),
    "pause": pause,
    "resume": resume,
    "stop": stop,
    "lift_stop": lift_stop,
    "cancel": lambda storage, study: cancel(storage, study, 0),
    "stop_if_failing": lambda storage, study: stop_if_failing(
        storage, study, most_in_a_row=1, last="x"
    ),
    "adopt": adopt,
    "give_key": give_key,
    "note": lambda storage, study: swap_system_attributes(storage, study, {"a": 1}, expected={}),
}
LOOKS = {
    "identity_of": identity_of,
    "read_orders": read_orders,
    "control_of": control_of,
    "look_around": look_around,
    "claimed_by": lambda storage, study: claimed_by(storage, study, "t"),
    "waiting": lambda storage, study: claim(
        storage, study, token="t", worker="host:1", is_waiting=True
    ),
    "user_attrs": lambda storage, study: storage.get_study_user_attrs(study),
    "set_user_attr": lambda storage, study: storage.set_study_user_attr(study, "a", 1),
    "get_trials": lambda storage, study: storage.get_all_trials(study),
    "create_trial": lambda storage, study: storage.create_new_trial(study),
}
OF_A_TRIAL = {
    "report": lambda storage, trial: storage.set_trial_intermediate_value(trial, 1, 0.5),
    "complete": lambda storage, trial: storage.set_trial_state_values(
        trial, TrialState.COMPLETE, [0.5]
    ),
    "user_attr": lambda storage, trial: storage.set_trial_user_attr(trial, "a", 1),
    "system_attr": lambda storage, trial: storage.set_trial_system_attr(trial, "a", 1),
    "get_trial": lambda storage, trial: storage.get_trial(trial),
    "describe": lambda storage, trial: write_user_attributes(storage, trial, {"a": 1}),
    "resume_at": lambda storage, trial: resume_at(storage, trial, 1),
}
WITHOUT_A_WORD = {
    "release": lambda storage, trial: release(storage, trial, reason="x", max_failures=3),
    "give_sign": give_sign,
}


@pytest.fixture
def another(storage, tmp_path):
    """The same database as another process sees it."""
    opened = open_storage(f"sqlite:///{tmp_path}/study.db")
    yield opened
    opened.close()


def rows(storage):
    """All that the database holds."""

    def work(session, again):
        tables = models.BaseModel.metadata.sorted_tables
        return {t.name: session.execute(sqlalchemy.select(t)).fetchall() for t in tables}

    return storage.transaction(work, reading=True)


def start_anew(storage, name):
    """A study with a running trial in the place of the only one there is; their ids."""
    for study in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=study, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    set_budget(storage, study._study_id, n_trials=5)
    return study._study_id, claim(storage, study._study_id, token="new", worker="host:2").trial_id


def outcomes(calls, *arguments):
    """What each of the calls raises: its name -> the error, None without one."""
    found = {}
    for name, call in calls.items():
        try:
            call(*arguments)
            found[name] = None
        except Exception as error:
            found[name] = error
    return found


def test_a_change_of_a_study_that_is_not_there_is_one_line(storage, new_study):
    study = new_study(5)
    optuna.delete_study(study_name="toy", storage=storage)
    for name, error in outcomes(CHANGES, storage, study._study_id).items():
        assert type(error) is StudyDeleted, name
        assert re.fullmatch(r"the study was deleted: [^\n]+ --study NAME", str(error)), name


@pytest.mark.parametrize("name", ["toy", "other"])
def test_nothing_reaches_a_study_that_has_the_id_of_a_deleted_one(
    storage, new_study, another, name
):
    study = new_study(5)
    mine = claim(storage, study._study_id, token="mine", worker="host:1")
    with fenced(storage, study._study_id):
        again = start_anew(another, name)
        assert again == (study._study_id, mine.trial_id)
        before = rows(another)
        found = outcomes(CHANGES | LOOKS, storage, study._study_id)
        found |= outcomes(OF_A_TRIAL | WITHOUT_A_WORD, storage, mine.trial_id)
    assert {type(error) for error in found.values()} == {StudyDeleted}, found
    assert rows(another) == before


def test_a_trial_whose_row_is_lost_is_no_longer_its_workers(storage, new_study):
    study = new_study(5)
    mine = claim(storage, study._study_id, token="mine", worker="host:1")
    lose(storage, mine.trial_id)
    with fenced(storage, study._study_id):
        found = outcomes(OF_A_TRIAL, storage, mine.trial_id)
        assert {type(error) for error in found.values()} == {Fenced}, found
        quiet = outcomes(WITHOUT_A_WORD, storage, mine.trial_id)
    assert set(quiet.values()) == {None}, quiet


def lose(storage, trial_id):
    """As a standby that is promoted before it has the last rows."""

    def work(session, again):
        for table in reversed(models.BaseModel.metadata.sorted_tables):
            if "trial_id" in table.c:
                session.execute(sqlalchemy.delete(table).where(table.c.trial_id == trial_id))

    storage.transaction(work)


def test_a_worker_whose_trial_is_lost_goes_on_with_others(storage, new_study):
    study = new_study(3)
    told = []

    def objective(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        for now in range(1, 4):
            if len(told) < 3 and now == len(told) + 1:
                lose(storage, attempt.trial._trial_id)
            attempt.report(0.5, now)
            attempt.should_prune()
        return 0.5

    result = run_worker(
        "toy",
        storage,
        objective,
        make_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
        seed=1,
        on_end=lambda attempt, state: told.append(state),
    )
    assert told[:3] == [TrialState.RUNNING] * 3
    assert (result.lost, result.complete, result.failed) == (3, 3, 0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


def test_a_worker_whose_study_is_deleted_leaves_its_successor_alone(storage, new_study, another):
    new_study(5)
    left = []

    def objective(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        start_anew(another, "toy")
        left.append(rows(another))
        return 0.5

    with pytest.raises(StudyDeleted):
        run_worker(
            "toy",
            storage,
            objective,
            make_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
            pruner=optuna.pruners.NopPruner(),
            seed=1,
        )
    assert left == [rows(another)]
    assert storage.fence is None


def test_a_trial_that_hangs_is_ended_although_its_study_is_deleted(storage, new_study, another):
    new_study(5, hang_timeout_seconds=0.4)
    lines = []

    def objective(attempt):
        start_anew(another, "toy")
        until = time.monotonic() + 30
        while not lines and time.monotonic() < until:
            time.sleep(0.05)
        return 0.5

    with pytest.raises(StudyDeleted):
        run_worker(
            "toy",
            storage,
            objective,
            make_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
            pruner=optuna.pruners.NopPruner(),
            seed=1,
            on_hang=lines.append,
        )
    assert lines and lines[0].startswith("a trial hangs, and the study was deleted: ")


def test_a_study_with_a_budget_has_a_key_which_stays(storage, new_study):
    study = new_study(5)
    key = study.user_attrs[KEY_ATTR]
    set_budget(storage, study._study_id, n_trials=6)
    assert give_key(storage, study._study_id).key == key == study.user_attrs[KEY_ATTR]


def test_a_claim_asks_whose_study_it_is_in_one_statement(storage, new_study):
    study = new_study(5)
    counts = []

    def count(*_):
        counts[-1] += 1

    def count_for(token):
        counts.append(0)
        claim(storage, study._study_id, token=token, worker="host:1")

    identity = identity_of(storage, study._study_id)
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", count)
    count_for("a")
    storage.fence = identity
    count_for("b")
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("space", [1, 99])
def test_a_study_of_another_search_space_is_neither_joined_nor_added_to(storage, settings, space):
    study = open_study(storage, "mine", replace(settings, space=space), n_trials=0)
    with pytest.raises(SearchError) as launch:
        open_study(storage, "mine", settings, n_trials=0)
    for ask in (
        lambda: settings_to_join(study),
        lambda: enqueue_configuration(storage, study, ["pooling=sqrtn"]),
    ):
        with pytest.raises(SearchError) as refused:
            ask()
        assert str(refused.value) == str(launch.value)
    assert study.trials == []
