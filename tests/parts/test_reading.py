"""Trials are read, and reports written, as Optuna does it, in fewer and lighter statements."""

from __future__ import annotations

import contextlib
import math
import time

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from search.dashboard.server import _RememberingStorage
from search.storage.opening import open_database
from search.storage.reading import build, fetch_trials

SPACE = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(8, 64, step=8),
    "kind": CategoricalDistribution(("none", None, True, 3)),
}


@pytest.fixture
def storage(url):
    opened = open_database(url)
    yield opened
    opened.close()


def _trial(number, state, **rest):
    params = {"width": 8 * (1 + number % 8), "rate": 0.5 / (1 + number), "kind": None}
    return create_trial(
        state=state,
        params=params,
        distributions=SPACE,
        user_attrs={"b": [number], "a": "ñ"},
        system_attrs={"completed_rung_0": 0.25},
        intermediate_values={3: 0.5, 1: math.inf, 2: -math.inf, 4: math.nan},
        **rest,
    )


def _fill(storage):
    """Trials of all states and kinds of values; the ids of the study and of another one."""
    study = optuna.create_study(storage=storage, direction="maximize")
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING]
    for number in range(12):
        state = states[number % 4]
        value = (0.125 if number else math.inf) if state == TrialState.COMPLETE else None
        study.add_trial(_trial(number, state, value=value))
    study.enqueue_trial({"rate": 0.1})
    study.ask()
    other = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    other.add_trial(_trial(0, TrialState.COMPLETE, values=[2.0, 1.0]))
    return study._study_id, other._study_id


def _plain(trials):
    """All of them, in the order of parameters; those of attributes and steps databases choose."""
    return [
        (
            *(t.number, t._trial_id, t.state, t.values, t.datetime_start, t.datetime_complete),
            *(list(t.params.items()), list(t.distributions.items())),
            *(sorted(t.user_attrs.items()), sorted(t.system_attrs.items())),
            repr(sorted(t.intermediate_values.items())),  # NaN is not equal to itself
        )
        for t in trials
    ]


def _as_optuna(storage, study_id, *rest):
    return _plain(RDBStorage._get_trials(storage, study_id, *rest))


def test_a_study_is_read_as_optuna_reads_it(storage):
    for study_id in _fill(storage):
        ours = storage._get_trials(study_id, None, set(), -1)
        assert _plain(ours) == _as_optuna(storage, study_id, None, set(), -1) != []
        assert _plain([storage.get_trial(ours[0]._trial_id)]) == _plain(ours[:1])


@pytest.mark.parametrize("most_ids", [0, 500])
def test_later_and_included_trials_are_read_and_no_others(storage, monkeypatch, most_ids):
    monkeypatch.setattr("search.storage.reading._MOST_IDS", most_ids)
    study_id, _ = _fill(storage)
    ids = [trial._trial_id for trial in storage.get_all_trials(study_id)]
    included = {ids[2], ids[4], ids[9]}
    found = storage._get_trials(study_id, None, included, ids[7])
    assert [t._trial_id for t in found] == [ids[2], ids[4], *ids[8:]]
    assert _plain(found) == _as_optuna(storage, study_id, None, included, ids[7])


def test_trials_of_some_states_are_read(storage):
    study_id, _ = _fill(storage)
    states = (TrialState.PRUNED, TrialState.FAIL)
    found = storage.get_all_trials(study_id, states=states)
    assert len(found) == 6 and {trial.state for trial in found} == set(states)


def test_what_is_not_there_is_a_key_error(storage):
    _fill(storage)
    with pytest.raises(KeyError):
        storage.get_trial(10_000)
    with pytest.raises(KeyError):
        storage.get_all_trials(10_000)
    with pytest.raises(KeyError):
        storage.set_trial_intermediate_value(10_000, 1, 0.5)


@pytest.mark.parametrize("value", [0.25, math.inf, -math.inf, math.nan])
def test_a_report_is_stored_and_a_later_one_of_the_step_replaces_it(storage, value):
    trial = optuna.create_study(storage=storage).ask()
    storage.set_trial_intermediate_value(trial._trial_id, 7, 0.5)
    storage.set_trial_intermediate_value(trial._trial_id, 7, value)
    assert repr(storage.get_trial(trial._trial_id).intermediate_values) == repr({7: value})


def test_a_report_to_a_trial_that_has_ended_is_refused_and_changes_nothing(storage):
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    trial.report(0.5, 1)
    study.tell(trial, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_intermediate_value(trial._trial_id, 1, 0.75)
    assert storage.get_trial(trial._trial_id).intermediate_values == {1: 0.5}


def test_a_read_does_not_idle_in_its_transaction_while_trials_are_built(postgres):
    """Or the server's own limit would cut every read of a study that is large enough."""
    url = postgres.new_database()
    # Little to send, and much to make of it.
    large = sqlalchemy.text(
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT 1, 'k' || n, "
        "'[' || repeat('1,', 300000) || '1]' FROM generate_series(1, 20) n"
    )
    with contextlib.closing(open_database(url)) as storage:
        study_id, _ = _fill(storage)
        storage.transaction(lambda session, _: session.execute(large))

        def fetch(session, again):
            return fetch_trials(session, study_id, states=None, included=(), later_than=-1)

        rows = storage.transaction(fetch, reading=True)
        began = time.perf_counter()
        count = len(build(rows))
        milliseconds = int(500 * (time.perf_counter() - began))
    assert milliseconds > 50, "too little to build for a limit to be of account"
    limit = f"?options=-c%20idle_in_transaction_session_timeout%3D{milliseconds}"
    with contextlib.closing(open_database(url + limit, outage_seconds=5.0)) as storage:
        assert len(storage.get_all_trials(study_id, deepcopy=False)) == count > 1
    with contextlib.closing(
        open_database(url + limit, storage_class=_RememberingStorage)
    ) as storage:
        assert len(storage.get_all_trials(study_id, deepcopy=False)) == count
