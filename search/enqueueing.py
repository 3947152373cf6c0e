"""Adding a configuration to a study by hand, whether workers run or not."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from search.configurations import is_complete, parse_settings, spelled
from search.errors import SearchError
from search.storage.operations import StudyStorage
from search.storage.trial_queue import enqueue
from search.study import settings_to_join
from search.workers.attempt import key_of, params_key

#: User attribute of a trial that a user asked for.
ENQUEUED_ATTR = "enqueued"


def enqueue_configuration(
    storage: StudyStorage, study: optuna.Study, settings: Sequence[str]
) -> int:
    """Queue the configuration that texts such as ``dropout=0.3`` spell; the number of its trial.

    What they leave open is chosen by the sampler.

    Raises:
        SearchError: They are none of the study's search space; or they leave nothing open, and a
            trial has them already; or the study is of another version of the space.
    """
    own = settings_to_join(study)
    params = parse_settings(list(settings), own.model, own.max_epochs)
    for name, value in own.fixed_params.items():
        if params.setdefault(name, value) != value:
            raise SearchError(
                f"the study was started with {spelled({name: value})}: leave {name} out, or "
                "start another study"
            )
    is_whole = is_complete(params, own.model, own.max_epochs)
    if own.sampler == "grid" and not is_whole:
        raise SearchError("--sampler grid chooses no single parameters: give all of them")
    key = params_key(params)
    # Of a part, the sampler makes another configuration each time.
    for trial in study.get_trials(deepcopy=False) if is_whole else ():
        if key_of(trial) == key and not _gave_up(trial):
            raise SearchError(
                f"trial {trial.number} is this configuration already ({trial.state.name}); all "
                "trials of a study share its seed, so another would come to the same"
            )
    number = enqueue(storage, study._study_id, params, user_attrs={ENQUEUED_ATTR: True})
    assert number is not None
    return number


def _gave_up(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state == optuna.trial.TrialState.FAIL
