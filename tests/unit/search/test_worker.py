"""What one worker does with its trials: order, seeds, repeats, errors."""

from __future__ import annotations

import signal

import optuna
import pytest
from optuna.samplers import GridSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from search.errors import PoisonedStudy, SearchError
from search.storage.budget import Verdict
from search.workers.loop import Interrupted, run_worker


@pytest.fixture
def work(storage):
    def run(objective, study="toy", **options):
        options.setdefault("make_sampler", lambda seed: TPESampler(seed=seed, n_startup_trials=4))
        options.setdefault("pruner", optuna.pruners.MedianPruner(n_startup_trials=3))
        options.setdefault("seed", 7)
        return run_worker(study, storage, objective, **options)

    return run


def _curve(attempt):
    x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
    for step in range(attempt.resume_step + 1, 5):
        attempt.report(x * step, step)
        if attempt.should_prune():
            raise optuna.TrialPruned
    return x


def _facts(study):
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        (t.params, t.value, t.state, t.intermediate_values)
        for t in study.get_trials(states=finished)
    ]


def test_a_seed_repeats_a_study_exactly(new_study, work):
    studies = [new_study(12, name="one"), new_study(12, name="two")]
    for study in studies:
        work(_curve, study=study.study_name)
    assert _facts(studies[0]) == _facts(studies[1])


def test_a_study_stopped_within_a_trial_goes_on_as_if_it_had_not_been(new_study, work):
    whole, parts = new_study(12, name="whole"), new_study(12, name="parts")
    work(_curve, study="whole")
    checkpoints = {}

    def interrupted_once(attempt):
        if attempt.root == 5 and attempt.attempt == 1:
            x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
            attempt.report(x, 1)
            checkpoints[5] = 1
            signal.raise_signal(signal.SIGTERM)
            assert attempt.should_stop()
            raise Interrupted
        return _curve(attempt)

    result = work(interrupted_once, study="parts")
    assert result.verdict is None and result.queued == 1
    work(interrupted_once, study="parts", checkpoint_step=lambda root: checkpoints.get(root, 0))
    assert _facts(whole) == _facts(parts)


def test_workers_with_one_seed_do_not_repeat_each_others_start(new_study, storage, work):
    study = new_study(4)
    inner = []

    def nested(attempt):
        # Another worker starts while this one's trial is running.
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        if len(inner) < 3:
            inner.append(x)
            work(nested)
        # Each worker ends with its one trial, the innermost first.
        signal.raise_signal(signal.SIGTERM)
        return x

    work(nested)
    xs = [trial.params["x"] for trial in study.trials]
    assert len(set(xs)) == len(xs) == 4


def _cell(attempt):
    row, column = attempt.suggest(
        lambda trial: (
            trial.suggest_int("row", 1, 6),
            trial.suggest_categorical("column", "abcdef"),
        )
    )
    return row + ord(column)


@pytest.mark.parametrize("sampler", [TPESampler, RandomSampler])
def test_a_discrete_space_is_never_repeated_and_its_end_is_told(new_study, work, sampler):
    study = new_study(50)
    result = work(_cell, make_sampler=lambda seed: sampler(seed=seed))
    assert result.verdict is Verdict.EXHAUSTED
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(complete) == len({tuple(t.params.items()) for t in complete}) == 36


def test_a_grid_is_walked_once(new_study, work):
    study = new_study(50)
    grid = {"row": [1, 3, 5], "column": ["a", "f"]}
    result = work(_cell, make_sampler=lambda seed: GridSampler(grid, seed=0))
    assert result.verdict is Verdict.EXHAUSTED
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(complete) == len({tuple(t.params.items()) for t in complete}) == 6


def test_enqueued_trials_come_first_and_count(new_study, work):
    study = new_study(3)
    study.enqueue_trial({"x": 0.25})
    study.enqueue_trial({"x": 0.75})
    work(_curve)
    assert [t.params["x"] for t in study.trials][:2] == [0.25, 0.75]
    assert len(study.trials) == 3


def test_a_lowered_budget_leaves_the_rest_of_the_queue_for_later(new_study, work):
    study = new_study(2)
    for x in (0.1, 0.2, 0.3):
        study.enqueue_trial({"x": x})
    assert work(_curve).complete == 2
    assert study.trials[2].state == TrialState.WAITING


@pytest.mark.parametrize(
    "error", [OSError("disk"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_what_may_pass_is_tried_again_up_to_the_limit(new_study, work, error):
    study = new_study(1)

    def fails_at_first(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        if attempt.configuration == 0:
            raise error
        return 1.0

    result = work(fails_at_first)
    assert (result.complete, result.queued, result.failed) == (1, 2, 1)
    failed = study.get_trials(states=(TrialState.FAIL,))
    assert [t.user_attrs["attempt"] for t in failed] == [1, 2, 3]
    assert len({t.params["x"] for t in failed}) == 1
    assert failed[-1].user_attrs["fail_reason"].endswith("given up after 3 failed attempts")


@pytest.mark.parametrize(("values", "kept"), [((0.1, 0.3), 0.3), ((0.1, float("nan")), None)])
def test_a_pruned_trial_has_the_value_of_its_last_step_if_it_is_a_number(
    new_study, work, values, kept
):
    study = new_study(1)

    def objective(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        for step, value in enumerate(values, start=1):
            attempt.report(value, step)
        raise optuna.TrialPruned

    assert work(objective).pruned == 1
    (trial,) = study.trials
    assert (trial.state, trial.value) == (TrialState.PRUNED, kept)


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_wrong_value_fails_once_with_its_traceback(new_study, work, value):
    study = new_study(1)

    def wrong_at_first(attempt):
        attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        return value if attempt.configuration == 0 else 1.0

    result = work(wrong_at_first)
    assert (result.complete, result.queued, result.failed) == (1, 0, 1)
    assert "Traceback" in study.trials[0].user_attrs["error"]


def test_five_failures_in_a_row_stop_the_worker(new_study, work):
    study = new_study(50)

    def broken(attempt):
        raise ValueError("no such column")

    with pytest.raises(PoisonedStudy, match="5 trials failed in a row.*no such column"):
        work(broken)
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 5


def test_an_error_of_the_service_is_not_the_trials(new_study, work):
    study = new_study(5)

    def no_data(attempt):
        raise SearchError("the data is gone")

    with pytest.raises(SearchError, match="the data is gone"):
        work(no_data)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].user_attrs["failures"] == 0


def test_a_retried_trial_keeps_the_curve_up_to_its_checkpoint_and_no_more(new_study, work):
    study = new_study(1)

    def cut(attempt):
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        for step in range(attempt.resume_step + 1, 6):
            attempt.report(step + attempt.attempt * 10, step)
            if attempt.attempt == 1 and step == 4:
                raise OSError
        return x

    work(cut, checkpoint_step=lambda root: 2)
    values = study.trials[1].intermediate_values
    assert values == {1: 11, 2: 12, 3: 23, 4: 24, 5: 25}
    assert study.trials[1].user_attrs["retry_of"] == 0
    assert study.trials[1].user_attrs["resumed_from"] == 2


def test_attributes_given_to_a_trial_stay_with_its_configuration(new_study, work):
    study = new_study(1)
    study.enqueue_trial({"x": 0.5}, user_attrs={"baseline": "students"})

    def cut(attempt):
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        if attempt.attempt == 1:
            raise OSError
        return x

    work(cut)
    assert study.trials[1].user_attrs["baseline"] == "students"
    assert "error" not in study.trials[1].user_attrs


def test_a_taken_trial_is_taken_once_when_the_answer_is_lost(
    new_study, work, storage, lose_answers
):
    study = new_study(1)
    with lose_answers(storage, 1):
        work(_curve)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE]


def test_time_that_is_over_starts_no_trial(new_study, work):
    study = new_study(5, timeout_seconds=0.0)
    assert work(_curve).verdict is Verdict.TIMED_OUT
    assert study.trials == []


def test_a_study_without_a_budget_is_refused(storage, work):
    optuna.create_study(study_name="toy", storage=storage)
    with pytest.raises(SearchError, match="no budget"):
        work(_curve)


def test_an_unknown_study_is_refused_by_name(work):
    with pytest.raises(SearchError, match="no study 'nowhere'"):
        work(_curve, study="nowhere")


def test_signal_handlers_are_given_back(new_study, work):
    before = signal.getsignal(signal.SIGTERM)
    new_study(1)
    work(_curve)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_parameter_whose_choices_changed_fails_the_trial_with_the_reason(new_study, work):
    study = new_study(6)
    work(_curve)
    study.set_user_attr("n_trials", 7)

    def changed(attempt):
        return attempt.suggest(lambda trial: trial.suggest_categorical("x", [1, 2]))

    with pytest.raises(PoisonedStudy):
        work(changed)
    assert "distribution" in study.trials[-1].user_attrs["fail_reason"]
