"""Times over the end of summer time, when the clock shows one hour twice."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
import sqlalchemy
from optuna.trial import TrialState, create_trial

from search.display.progress import Progress
from search.results.details import study_details, trial_details
from search.results.listing import list_studies
from search.results.report.attempts import attempt_seconds
from search.results.report.course import course
from search.results.status import _trial_seconds
from search.times import local_time
from search.workers.watch import StudyWatch

# 02:30 with +02:00, and 02:10 with +01:00: an hour and a half, and ten minutes, after midnight.
BEGAN, ENDED, LAST = "2026-10-25 00:30:00", "2026-10-25 01:10:00.250000", "2026-10-25 01:43:00"


@pytest.fixture
def madrid(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Told(Progress):
    def __init__(self):
        super().__init__()
        self.seconds = {}

    def trial_finished(self, number, state, value, seconds, *, reason=""):
        self.seconds[number] = seconds


def over_the_change(storage, study):
    """Two trials that ended: the first in the hour's second pass, begun in its first."""
    for value in (0.5, 0.75):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value))
    times = [(BEGAN, ENDED), (ENDED, LAST)]
    with storage.engine.begin() as connection:
        for number, (began, ended) in enumerate(times):
            connection.execute(
                sqlalchemy.text(
                    "UPDATE trials SET datetime_start = :began, datetime_complete = :ended"
                    " WHERE number = :number"
                ),
                {"began": _stored(began), "ended": _stored(ended), "number": number},
            )


def _stored(moment):
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S.%f")


def test_a_trial_over_the_end_of_summer_time_has_its_times_and_seconds(madrid, storage, new_study):
    study = new_study()
    over_the_change(storage, study)
    found = trial_details(study, 0)
    assert found["started"] == "2026-10-25T02:30:00+02:00"
    assert found["ended"] == "2026-10-25T02:10:00+01:00"
    assert found["seconds"] == found["attempts"][0]["seconds"] == 2400.25
    whole = study_details(study)
    assert whole["started"] == "2026-10-25T02:30:00+02:00"
    assert whole["last_ended"] == "2026-10-25T02:43:00+01:00"
    assert {t["number"]: t["seconds"] for t in whole["leaders"]} == {0: 2400.25, 1: 1979.75}


def test_a_report_counts_the_hour_that_comes_twice(madrid, storage, new_study):
    study = new_study()
    over_the_change(storage, study)
    trials = study.get_trials()
    assert [attempt_seconds(trial) for trial in trials] == [2400.25, 1979.75]
    found = course(trials)
    assert found.seconds == 4380.0
    assert found.wall_seconds == 4380.0
    # As the list and the status have always had it.
    (listed,) = list_studies(storage)
    assert listed.last_activity == found.ended
    assert storage.transaction(lambda s, _: _trial_seconds(s, study._study_id)) == 2190.0


def test_a_display_is_told_the_seconds_of_a_trial_over_the_change(madrid, storage, new_study):
    study = new_study()
    told = Told()
    watch = StudyWatch(study, told, max_steps=4)
    over_the_change(storage, study)
    watch.look()
    assert told.seconds == {0: 2400.25, 1: 1979.75}


@pytest.mark.parametrize(
    "utc", [BEGAN, ENDED, "2026-03-29 01:00:00.000001", "1969-12-31 23:59:59.999999"]
)
def test_a_local_time_is_the_moment_that_was_stored(madrid, utc):
    moment = datetime.fromisoformat(utc)
    back = local_time(moment).astimezone()
    assert back.timestamp() == pytest.approx(
        (moment - datetime(1970, 1, 1)).total_seconds(), abs=1e-6
    )
    assert back.microsecond == moment.microsecond
