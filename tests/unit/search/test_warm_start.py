"""``--from STUDY``: what a new study takes from an old one's best trials."""

from __future__ import annotations

import dataclasses
import json

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.configurations import ask
from search.errors import SearchError
from search.options import WarmStart
from search.spaces import Task, good_starts, suggest_mlp
from search.storage.opening import open_storage
from search.study import BASELINE_ATTR, WARM_START_ATTR, open_study, own_first_trials
from search.warm_start import enqueue_best, starting_with, take_best


@pytest.fixture
def storage(options):
    options.out.mkdir()
    opened = open_storage(f"sqlite:///{options.out}/optuna.db")
    yield opened
    opened.close()


@pytest.fixture
def old(storage, settings):
    """Trials 0 to 9 with values 0.0 to 0.9; 3 is pruned, 9 a baseline, 8 repeats 7."""
    study = open_study(storage, "old", settings, n_trials=0)
    sampling = optuna.create_study(sampler=RandomSampler(seed=5))
    repeated = None
    for number in range(10):
        trial = sampling.ask()
        ask(trial, "mlp", settings.max_epochs)
        params, distributions = (trial.params, trial.distributions)
        if number == 8:
            params, distributions = repeated
        repeated = (params, distributions)
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=distributions,
                value=number / 10,
                user_attrs={BASELINE_ATTR: "x"} if number == 9 else {},
                state=TrialState.PRUNED if number == 3 else TrialState.COMPLETE,
            )
        )
    return study


@pytest.fixture
def asking(options):
    def ask_for(top=5, **changes):
        start = WarmStart("old", None, top)
        return dataclasses.replace(options, max_epochs=3, warm_start=start, **changes)

    return ask_for


def queued(study):
    trials = study.get_trials(states=(TrialState.WAITING,))
    return [(t.system_attrs["fixed_params"], t.user_attrs.get(WARM_START_ATTR)) for t in trials]


def test_the_best_distinct_complete_trials_are_taken_without_baselines(old, asking):
    taken = take_best(asking(top=6))
    assert taken.trials == [(8, 0.8), (6, 0.6), (5, 0.5), (4, 0.4), (2, 0.2), (1, 0.1)]
    assert taken.params == [old.trials[number].params for number, _ in taken.trials]
    assert taken.skipped == {}


def test_a_new_study_starts_with_them_and_then_with_its_own_first_trials(
    old, asking, storage, settings
):
    other = dataclasses.replace(settings, data_name="others", data_fingerprint="d2")
    taken = take_best(asking(top=2))
    first = starting_with(taken, own_first_trials(other))
    study = open_study(storage, "new", other, n_trials=4, first=first)
    assert enqueue_best(study, taken, n_trials=4)
    assert [origin for _, origin in queued(study)] == ["old trial 8", "old trial 6", None, None]
    assert queued(study)[0][0] == old.trials[8].params


def test_what_was_taken_is_remembered_and_not_taken_twice(old, asking, storage, settings):
    taken = take_best(asking(top=3))
    study = open_study(storage, "new", settings, n_trials=0)
    assert enqueue_best(study, taken, n_trials=50)
    before = queued(study)
    assert not enqueue_best(study, take_best(asking(top=4)), n_trials=50)
    assert queued(study) == before and len(before) == 3
    (stored,) = json.loads(study.user_attrs[WARM_START_ATTR]).values()
    assert stored["study"] == "old" and stored["trials"] == [[8, 0.8], [6, 0.6], [5, 0.5]]


def test_a_study_that_runs_gets_no_more_than_its_budget_has_room_for(
    old, asking, storage, settings
):
    study = open_study(storage, "new", settings, n_trials=4)
    enqueue_best(study, take_best(asking()), n_trials=6)
    assert len(queued(study)) == 6


def test_what_another_model_asks_for_besides_is_left_to_the_sampler(old, asking):
    taken = take_best(asking(model="cnn"))
    best = old.trials[8].params
    assert taken.params[0] == {key: value for key, value in best.items() if key != "pooling"}
    assert not set(taken.params[0]) & {"num_filters", "filter_lengths", "num_epochs"}


def test_what_trials_of_an_earlier_space_had_without_saying_so_is_taken_too(
    storage, settings, asking
):
    study = open_study(storage, "old", dataclasses.replace(settings, space=1), n_trials=0)
    trial = study.ask()
    suggest_mlp(trial, Task(1, 1, 2, settings.max_epochs, space=1))
    study.tell(trial, 0.5)
    assert "pooling" not in trial.params
    assert take_best(asking()).params == [{**trial.params, "pooling": "mean"}]
    fixed = take_best(asking(settings=("pooling=sqrtn",)))
    assert fixed.params == [{**trial.params, "pooling": "sqrtn"}]
    assert list(fixed.skipped) == ["pooling=mean: --set fixes it"]


def test_what_another_model_lacks_is_listed(storage, settings, asking):
    study = open_study(storage, "old", dataclasses.replace(settings, model="cnn"), n_trials=0)
    study.enqueue_trial(good_starts("cnn", 3)[0])
    trial = study.ask()
    ask(trial, "cnn", 3)
    study.tell(trial, 0.5)
    taken = take_best(asking())
    assert taken.params == [
        {k: v for k, v in good_starts("cnn", 3)[0].items() if k in good_starts("mlp", 3)[0]}
    ]
    assert "num_filters=100: the mlp has no such parameter (1 x)" in taken.describe()


def test_values_that_the_new_study_fixes_take_the_place_of_the_old_ones(old, asking):
    taken = take_best(asking(settings=("dropout=0.25",)))
    assert {params["dropout"] for params in taken.params} == {0.25}
    assert all("--set fixes it" in text for text in taken.skipped)
    assert sum(taken.skipped.values()) == 5
    assert "not taken: dropout=" in taken.describe()


def test_a_value_out_of_the_new_range_is_left_to_the_sampler(storage, settings, asking):
    cnn = dataclasses.replace(settings, model="cnn", max_epochs=5)
    study = open_study(storage, "old", cnn, n_trials=0)
    study.enqueue_trial(good_starts("cnn", 5)[0] | {"num_epochs": 5})
    trial = study.ask()
    ask(trial, "cnn", 5)
    study.tell(trial, 0.5)
    taken = take_best(asking(model="cnn"))
    assert "num_epochs" not in taken.params[0]
    assert [text.partition(" ")[0] for text in taken.skipped] == ["num_epochs=5"]


def test_another_storage_can_be_named(old, asking, storage, options, tmp_path):
    elsewhere = dataclasses.replace(
        asking(),
        out=tmp_path / "other",
        warm_start=WarmStart("old", f"sqlite:///{options.out}/optuna.db", 1),
    )
    assert take_best(elsewhere).trials == [(8, 0.8)]


def test_an_unknown_study_is_answered_with_those_that_there_are(old, asking):
    unknown = dataclasses.replace(asking(), warm_start=WarmStart("older", None, 5))
    with pytest.raises(SearchError, match=r"no study 'older'.*: old"):
        take_best(unknown)


def test_a_study_without_complete_trials_is_refused(storage, settings, asking):
    open_study(storage, "old", settings, n_trials=5)
    with pytest.raises(SearchError, match="no COMPLETE trial"):
        take_best(asking())


def test_a_study_is_not_started_from_itself(old, asking):
    with pytest.raises(SearchError, match="--from old is the study itself"):
        enqueue_best(old, take_best(asking()), n_trials=50)


def test_a_grid_takes_nothing(asking):
    with pytest.raises(SearchError, match="leave --from out"):
        asking(sampler="grid").check()


def test_less_than_one_trial_is_refused(asking):
    with pytest.raises(SearchError, match="--from-top is 0"):
        asking(top=0).check()
