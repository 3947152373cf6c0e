"""Parameters of new trials: never twice the same, and written without waiting for the others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import optuna
import pytest
from optuna.distributions import FloatDistribution

from search.storage.admission import PARAMS_KEY
from search.storage.budget import set_budget
from search.storage.claims import Claim
from search.storage.opening import open_database
from search.storage.parameters import write_params
from search.storage.rows import hold_text, lock_study, models, write_attributes
from search.storage.trial_queue import claim

SPACE = {"rate": FloatDistribution(0.0, 1.0)}
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def storage(postgres):
    with closing(open_database(postgres.new_database())) as opened:
        yield opened


@pytest.fixture
def study(storage):
    study = optuna.create_study(storage=storage)
    set_budget(storage, study._study_id, n_trials=9)
    return study


def taken(storage, study, token):
    claimed = claim(storage, study._study_id, token=token, worker=token)
    assert isinstance(claimed, Claim)
    return claimed


def write(storage, trial, key, known_to=0):
    return write_params(storage, trial.trial_id, {"rate": 0.5}, SPACE, key=key, known_to=known_to)


def test_who_takes_a_trial_keeps_nobody_from_writing_parameters(storage, study):
    trial = taken(storage, study, "one")

    def work(session, again):
        lock_study(session, study._study_id)
        with ThreadPoolExecutor(1) as other:
            return other.submit(write, storage, trial, "key").result()

    assert storage.transaction(work) is None
    assert storage.get_trial(trial.trial_id).params == {"rate": 0.5}


def test_of_two_trials_with_the_same_parameters_the_later_one_hears_of_it(
    postgres, storage, study
):
    first, second = taken(storage, study, "one"), taken(storage, study, "two")
    database = storage.engine.url.database
    with ThreadPoolExecutor(1) as other, postgres.connect(database) as watching:

        def work(session, again):
            # Not committed yet: only the lock tells the other of it.
            hold_text(session, study._study_id, "key")
            attributes = models.TrialSystemAttributeModel
            write_attributes(session, attributes, first.trial_id, {PARAMS_KEY: "key"})
            later = other.submit(write, storage, second, "key")
            until = time.monotonic() + 20
            while not watching.execute(WAITING).fetchone()[0]:
                assert time.monotonic() < until and not later.done()
                time.sleep(0.01)
            return later

        assert storage.transaction(work).result() == first.number
    assert storage.get_trial(second.trial_id).params == {}
