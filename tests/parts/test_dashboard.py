"""The study's note in optuna-dashboard, written by several workers at once."""

from __future__ import annotations

import threading

import optuna
from optuna.trial import TrialState, create_trial

from search.dashboard.attributes import note_attributes, note_in
from search.dashboard.note import refresh_note
from search.storage.opening import open_storage
from search.storage.system_attributes import swap_system_attributes

WORKERS, TRIALS = 4, 5


def test_the_note_is_of_the_best_trial_whoever_writes_last(url: str) -> None:
    storage = open_storage(url)
    study = optuna.create_study(study_name="noted", storage=storage, direction="maximize")
    new, expected = note_attributes("\n## Data\nthese", {})
    assert swap_system_attributes(storage, study._study_id, new, expected=expected)
    start = threading.Barrier(WORKERS)

    def work(worker: int) -> None:
        mine = open_storage(url)
        own = optuna.load_study(study_name="noted", storage=mine)
        start.wait()
        for step in range(TRIALS):
            value = (7 * step + 3 * worker) % 23 / 100
            own.add_trial(create_trial(value=value, state=TrialState.COMPLETE))
            refresh_note(mine, own)
        mine.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    note = note_in(storage.get_study_system_attrs(study._study_id))
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(complete) == WORKERS * TRIALS
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    assert f"**Trial {best.number}: {best.value:.4f}**" in note
    assert note.endswith("these")
    storage.close()


def test_attributes_are_swapped_whole_or_not_at_all(url: str) -> None:
    storage = open_storage(url)
    study_id = optuna.create_study(storage=storage)._study_id
    assert swap_system_attributes(storage, study_id, {"a": 1, "b": 1}, expected={"a": None})
    assert not swap_system_attributes(storage, study_id, {"b": 2, "c": 2}, expected={"a": 0})
    assert storage.get_study_system_attrs(study_id) == {"a": 1, "b": 1}
    assert swap_system_attributes(storage, study_id, {"b": 2, "c": 2}, expected={"a": 1})
    assert storage.get_study_system_attrs(study_id) == {"a": 1, "b": 2, "c": 2}
    storage.close()
