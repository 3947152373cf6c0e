"""Commands that steer a running study, from any machine that reaches its storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_utils.safe_text import for_terminal
from search.commands.manage import Out, Storage, Study
from search.commands.options import MOST
from search.folders import DEFAULT_OUT

if TYPE_CHECKING:
    import optuna

    from search.storage.operations import StudyStorage


def pause(study: Study = None, storage: Storage = None, out: Out = DEFAULT_OUT) -> None:
    """Have all workers save their trials and wait until `resume`."""
    from search.storage.control import pause as pause_study

    opened, found = _find(study, storage, out)
    pause_study(opened, found._study_id)
    line = (
        f"study {found.study_name} is paused: {_running(opened, found)} saved at the next "
        "evaluation and queued again; `studies.py resume` goes on"
    )
    print(for_terminal(line))


def resume(study: Study = None, storage: Storage = None, out: Out = DEFAULT_OUT) -> None:
    """Let a study go on that was paused or stopped."""
    from search.storage.control import resume as resume_study

    opened, found = _find(study, storage, out)
    resume_study(opened, found._study_id)
    line = (
        f"study {found.study_name} goes on: workers that wait take trials again; where there are "
        "none, start one with the study's own command or `studies.py worker`"
    )
    print(for_terminal(line))


def stop(study: Study = None, storage: Storage = None, out: Out = DEFAULT_OUT) -> None:
    """End all workers of a study once they have saved their trials; its own command goes on."""
    from search.storage.control import stop as stop_study

    opened, found = _find(study, storage, out)
    stop_study(opened, found._study_id)
    line = (
        f"study {found.study_name} is stopped: {_running(opened, found)} saved at the next "
        "evaluation and queued again, then all workers end; the study's own command goes on"
    )
    print(for_terminal(line))


def cancel(
    trial: Annotated[int, typer.Option(help="Number of the trial.", min=0, max=MOST)],
    study: Study = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """End one trial as FAIL; it is not tried again, and another takes its place."""
    from optuna.trial import TrialState

    from search.storage.control import cancel as cancel_trial

    opened, found = _find(study, storage, out)
    state = cancel_trial(opened, found._study_id, trial)
    when = "at its next evaluation" if state == TrialState.RUNNING else "now: it was waiting"
    print(for_terminal(f"trial {trial} of study {found.study_name} ends {when}"))


def enqueue(
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A parameter of the configuration, such as dropout=0.3; may be repeated. The "
            "sampler chooses those that are left out.",
        ),
    ],
    study: Study = None,
    storage: Storage = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Add a configuration to a study, to be run next."""
    from search.enqueueing import enqueue_configuration

    opened, found = _find(study, storage, out)
    number = enqueue_configuration(opened, found, settings)
    print(
        for_terminal(f"trial {number} of study {found.study_name} is queued{_when(opened, found)}")
    )


def _find(study: str | None, storage: str | None, out: Path) -> tuple[StudyStorage, optuna.Study]:
    from search.results.finding import find_study, reach_storage
    from search.study import load_settings

    opened = reach_storage(storage, out=out)
    found = find_study(opened, study)
    load_settings(found)  # refuses a study of another program
    return opened, found


def _running(storage: StudyStorage, study: optuna.Study) -> str:
    from optuna.trial import TrialState

    from search.storage.budget import count_states

    count = count_states(storage, study._study_id).get(TrialState.RUNNING, 0)
    return "1 running trial is" if count == 1 else f"{count} running trials are"


def _when(storage: StudyStorage, study: optuna.Study) -> str:
    """When a queued trial runs, as far as that needs a word."""
    from optuna.trial import TrialState

    from search.storage.budget import N_TRIALS, count_states

    counts = count_states(storage, study._study_id)
    finished = counts.get(TrialState.COMPLETE, 0) + counts.get(TrialState.PRUNED, 0)
    n_trials = study.user_attrs.get(N_TRIALS)
    if n_trials is not None and finished + counts.get(TrialState.RUNNING, 0) >= n_trials:
        return f"; the study has its {n_trials} trials: it runs when --trials is raised"
    return "" if counts.get(TrialState.RUNNING) else "; it runs as soon as a worker comes"
