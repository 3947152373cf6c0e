"""Everything that is needed to run a study again: its command line, its data, the versions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import torch

from data_utils import Cleaning, DataSpec
from models.training import has_bfloat16
from search.configurations import spelled
from search.limits import OPTIONS, described, digits
from search.objectives import ONE_OBJECTIVE
from search.results.opened import OpenedStudy
from search.results.versions import versions
from search.settings import StudySettings
from search.spaces import DEFAULT_DIM, DEFAULT_EPOCHS
from search.storage.budget import N_TRIALS, TRIAL_TIMEOUT

_SWITCHES = {
    "lower": "--keep-case",
    "tags": "--keep-tags",
    "punctuation": "--keep-punctuation",
    "numbers": "--keep-numbers",
}


@dataclass(frozen=True)
class Origin:
    """Pairs of a name and a text each, in the order in which they are shown."""

    command: str
    settings: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def origin(opened: OpenedStudy, *, with_data: bool) -> Origin:
    """What the study came from; with its data at hand, also what they were found to be."""
    settings, attributes = opened.settings, opened.study.user_attrs
    data = [("name", settings.data_name), ("fingerprint", settings.data_fingerprint)]
    if with_data:
        summary = opened.inputs.prepared.summary
        data += [
            (name.replace("_", " "), _text(value))
            for name, value in summary.items()
            if value not in (None, {}, [], 0)
        ]
    data.append(("cleaning", f"version {settings.data_spec().cleaning.version}"))
    data.append(("word vectors", settings.vectors or "skip-gram vectors of the train titles"))
    data.append(("fingerprint of the vectors", settings.vectors_fingerprint))
    return Origin(
        command=command_line(
            settings,
            opened.name,
            attributes.get(N_TRIALS),
            trial_timeout_seconds=attributes.get(TRIAL_TIMEOUT),
        ),
        settings=(
            ("model", settings.model),
            ("search space", f"version {settings.space}"),
            ("sampler", settings.sampler),
            ("pruner", settings.pruner),
            *(
                [("objectives", ", ".join(settings.objectives))]
                if len(settings.objectives) > 1
                else []
            ),
            *([("limits", described(settings.limits))] if settings.limits else []),
            ("seed", str(settings.seed)),
            ("epochs of a trial, at most", str(settings.max_epochs)),
            ("width of the word vectors", str(settings.embedding_dim)),
            ("parameters held fixed", spelled(settings.fixed_params) or "none"),
            ("storage", opened.storage.display_url),
        ),
        data=tuple(data),
        versions=_versions(opened.device),
    )


def command_line(
    settings: StudySettings,
    study_name: str,
    n_trials: int | None,
    *,
    trial_timeout_seconds: float | None = None,
) -> str:
    """The command that starts this study anew, options at their defaults left out."""
    words = ["python", "studies.py", "--model", settings.model]
    if n_trials is not None:
        words += ["--trials", str(n_trials)]
    if trial_timeout_seconds is not None:
        words += ["--trial-timeout", f"{digits(trial_timeout_seconds)}s"]
    named = {
        "study": (study_name, settings.usual_name),
        "sampler": (settings.sampler, "tpe"),
        "objectives": (",".join(settings.objectives), ONE_OBJECTIVE[0]),
        "pruner": (settings.pruner, "asha" if len(settings.objectives) == 1 else "none"),
        "epochs": (settings.max_epochs, DEFAULT_EPOCHS[settings.model]),
        "seed": (settings.seed, 0),
        "vectors": (settings.vectors, None),
    }
    if settings.vectors is None:
        named["dim"] = (settings.embedding_dim, DEFAULT_DIM)
    for name, (value, default) in named.items():
        if value != default:
            words += [f"--{name}", str(value)]
    for name, limit in settings.limits.items():
        words += [OPTIONS[name], digits(limit)]
    for pair in spelled(settings.fixed_params).split():
        words += ["--set", pair]
    return shlex.join(words + data_options(settings.data_spec()))


def data_options(spec: DataSpec) -> list[str]:
    """The options of ``studies.py`` that ask for these data."""
    words, usual = [], DataSpec()
    for field, option in {
        "source": "data",
        "level": "level",
        "text_column": "text-column",
        "label_column": "label-column",
        "language": "language",
        "label_quality": "label-quality",
        "min_rows": "min-rows",
        "sample": "sample",
        "split_seed": "split-seed",
        "max_vocabulary": "max-vocabulary",
        "min_count": "min-count",
        "stemmer": "stemmer",
    }.items():
        value = getattr(spec, field)
        if value != getattr(usual, field):
            words += [f"--{option}", str(value)]
    words += ["--strict"] * spec.strict
    words += [o for field, o in _SWITCHES.items() if not getattr(spec.cleaning, field)]
    if spec.cleaning.stop_words != Cleaning().stop_words:
        words += ["--stop-words", ",".join(spec.cleaning.stop_words) or "none"]
    if spec.cleaning.min_letters != Cleaning().min_letters:
        words += ["--min-letters", str(spec.cleaning.min_letters)]
    return words


def _versions(device: torch.device) -> tuple[tuple[str, str], ...]:
    known = versions()
    product = "bfloat16" if has_bfloat16(device) else "float32"
    return (
        ("title-search", known["title-search"] + f" ({known['commit']})" * bool(known["commit"])),
        ("Python", known["python"]),
        *known["packages"].items(),
        ("trained on", f"{device.type} ({known['machine']}), products in {product}"),
    )


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
