"""The note on a study: the best so far, the baselines, the data and the search space.

A note is written only if nobody has written it since it was read, and the trials are read in
between: so whoever writes last has seen the best trial. Only the part before the heading of the
data is written anew, so what a person adds below it stays; without that heading it is all theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from data_utils import PreparedData
from data_utils.safe_text import for_markdown
from search.configurations import distributions, values_of
from search.dashboard.attributes import note_attributes, note_in
from search.display.categories import missing_categories
from search.display.limits import limits_line
from search.display.names import trial_name
from search.limits import is_over, is_untrained, why_over
from search.objectives import by_accuracy, leaders, pareto_front
from search.settings import StudySettings
from search.storage.operations import StudyStorage
from search.storage.system_attributes import swap_system_attributes
from search.study import BASELINE_ATTR, limits_in

_DATA = "\n## Data\n"
_TRIES = 10


def start_note(
    storage: StudyStorage, study: optuna.Study, settings: StudySettings, prepared: PreparedData
) -> None:
    """Write the note of a study that has none."""
    attributes = storage.get_study_system_attrs(study._study_id)
    if note_in(attributes):
        return
    text = _standing(study, study.get_trials(deepcopy=False))
    text += _DATA + _data(settings, prepared) + _space(settings)
    new, expected = note_attributes(text, attributes)
    swap_system_attributes(storage, study._study_id, new, expected=expected)


def refresh_note(
    storage: StudyStorage, study: optuna.Study, trials: Sequence[FrozenTrial] | None = None
) -> str:
    """Bring the note up to date and return it; nothing if it was.

    ``trials`` are the study's, if they were just read.
    """
    for _ in range(_TRIES):
        attributes = storage.get_study_system_attrs(study._study_id)
        old = note_in(attributes)
        _, heading, below = old.partition(_DATA)
        # Once more after a try that failed: another worker has written of trials that ended since.
        trials = study.get_trials(deepcopy=False) if trials is None else trials
        text = _standing(study, trials) + heading + below
        if not heading or text == old:
            return ""
        new, expected = note_attributes(text, attributes)
        if swap_system_attributes(storage, study._study_id, new, expected=expected):
            return text
        trials = None
    return ""


def table(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A Markdown table; its cells are taken as text."""
    lines = [header, ("---",) * len(header)]
    body = [tuple(for_markdown(str(cell)) for cell in row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *body]) + "\n"


def _standing(study: optuna.Study, trials: Sequence[FrozenTrial]) -> str:
    best = next(map(by_accuracy, leaders(trials)), None)
    limits = limits_line(trials, limits_in(study))
    trials = [by_accuracy(trial) for trial in trials]
    # The last attempt at each of them.
    baselines = {t.user_attrs[BASELINE_ATTR]: t for t in trials if BASELINE_ATTR in t.user_attrs}
    text = "## Best so far\n\n"
    if best is None:
        text += f"No trial is COMPLETE yet{' within the limits' if limits else ''}.\n"
    else:
        text += f"**Trial {best.number}: {best.value:.4f}** balanced accuracy on validation"
        known = [t.value for t in baselines.values() if not is_over(t) and t.value is not None]
        if known and BASELINE_ATTR not in best.user_attrs:
            points = 100 * ((best.value or 0.0) - max(known))
            text += f", {points:+.1f} points against the best baseline"
        text += f"  \n{for_markdown(trial_name(best.params, best.user_attrs))}\n\n"
        text += table(("parameter", "value"), _shown(best.params).items())
        text += _front(study)
    if limits:
        text += f"\nLimits: {for_markdown(limits)}.\n"
    if baselines:
        header = ("trial", "configuration", "state", "balanced accuracy")
        rows = [(t.number, name, _state(t), _value(t)) for name, t in baselines.items()]
        text += f"\n## Baselines\n\n{table(header, rows)}"
    return text


def _front(study: optuna.Study) -> str:
    front = pareto_front(study)
    if not front:
        return ""
    header = ("trial", *(study.metric_names or ()))
    rows = [(t.number, *(f"{value:.4f}" for value in t.values)) for t in front]
    return f"\n## Pareto front\n\n{table(header, rows)}"


def _state(trial: FrozenTrial) -> str:
    return trial.state.name + (f": {why_over(trial)}" if is_over(trial) else "")


def _value(trial: FrozenTrial) -> str:
    return "" if trial.value is None or is_untrained(trial) else f"{trial.value:.4f}"


def _shown(params: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in params.items()
    }


def _data(settings: StudySettings, prepared: PreparedData) -> str:
    summary = prepared.summary
    splits = summary["splits"]
    rows: list[tuple[object, ...]] = [
        ("source", summary["source"]),
        ("titles", f"{sum(splits.values()):,}"),
        ("categories", f"{len(prepared.labels):,}"),
        *((f"{name} part", f"{count:,} titles") for name, count in splits.items()),
        *missing_categories(prepared),
        ("vocabulary", f"{summary['vocabulary_size']:,} words"),
        ("word vectors", settings.vectors or "skip-gram vectors of the train titles"),
        ("width of the vectors", settings.embedding_dim),
        ("fingerprint", prepared.fingerprint[:16]),
    ]
    return "\n" + table(("data", for_markdown(prepared.name)), rows)


def _space(settings: StudySettings) -> str:
    space = distributions(settings.model, settings.max_epochs)
    how = (
        f"{settings.model.upper()}, at most {settings.max_epochs} epochs a trial; "
        f"sampler {settings.sampler}, pruner {settings.pruner}, seed {settings.seed}"
    )
    rows = [
        (name, values_of(found) + ", logarithmic" * getattr(found, "log", False))
        for name, found in space.items()
    ]
    return f"\n## Search space\n\n{for_markdown(how)}\n\n{table(('parameter', 'values'), rows)}"
