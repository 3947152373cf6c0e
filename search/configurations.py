"""Configurations that a user writes down: ``--set name=value``, checked against a search space.

Parameters come out as Optuna stores them. Besides a space's own names two spellings for people
are understood: ``hidden_sizes=512,256`` (or ``none``) stands for ``num_layers`` and the widths,
and yes and no for true and false.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.trial import BaseTrial, FixedTrial

from search.errors import SearchError
from search.spaces import SEARCH_SPACES, Task, TrialConfig, grid

# A space is a function: its parameters are known by asking. Enough draws to meet the conditional
# ones, too.
_DRAWS = 60
_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_WIDTH = "hidden_size_"
# Said elsewhere on the command line.
_OPTIONS = {
    "num_epochs": "--epochs",
    "epochs": "--epochs",
    "seed": "--seed",
    "embedding_dim": "--dim",
}


def parse_settings(settings: list[str], model: str, max_epochs: int) -> dict[str, Any]:
    """The parameters that texts such as ``dropout=0.3`` fix; the space need not be used up.

    Raises:
        SearchError: Names the text, and what it could have been.
    """
    params: dict[str, Any] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise SearchError(f"--set {text!r} is no NAME=VALUE; give for example dropout=0.3")
        for key, read in _read(name, value, model, max_epochs).items():
            if params.setdefault(key, read) != read:
                raise SearchError(f"--set says {key} twice: {params[key]} and {read}; give one")
    check_params(params, model, max_epochs)
    return params


def check_params(params: Mapping[str, Any], model: str, max_epochs: int) -> None:
    """Refuse parameters that no trial of the space could have together.

    Raises:
        SearchError: A name is unknown, a value out of range, or a parameter is never asked for
            beside the others.
    """
    if not params:
        return
    space = distributions(model, max_epochs)
    for name, value in params.items():
        if name not in space:
            raise SearchError(_unknown(name, model, max_epochs))
        if not _contains(space[name], value):
            raise SearchError(_outside(name, value, space[name]))
    unused = set(params) - set(distributions(model, max_epochs, tuple(sorted(params.items()))))
    if unused:
        name = min(unused)
        beside = {key: value for key, value in params.items() if not key.startswith(_WIDTH)}
        raise SearchError(
            f"{name} is not asked for with {spelled(beside)}; leave it out, or change these"
        )


def fitting(
    params: Mapping[str, Any], model: str, max_epochs: int
) -> tuple[dict[str, Any], list[str]]:
    """The parameters that the space has with these values, and what is wrong with the others."""
    space = distributions(model, max_epochs)
    kept, refused = {}, []
    for name, value in params.items():
        if name not in space:
            refused.append(f"{name}={value}: the {model} has no such parameter")
        elif not _contains(space[name], value):
            refused.append(_outside(name, value, space[name]))
        else:
            kept[name] = value
    return kept, refused


def is_complete(params: Mapping[str, Any], model: str, max_epochs: int) -> bool:
    """Whether nothing is left to search beside these parameters."""
    try:
        ask(FixedTrial(dict(params)), model, max_epochs)
    except ValueError:  # the space asks for one that is not there
        return False
    return True


def pinned_grid(model: str, max_epochs: int, fixed: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The grid of the model, its values replaced by those that are fixed.

    Raises:
        SearchError: It has no value for a parameter that the fixed ones bring up, or no use for
            one of these.
    """
    points = grid(model, max_epochs) | {name: [value] for name, value in fixed.items()}
    for values in itertools.product(*points.values()):
        point = dict(zip(points, values, strict=True))
        asked_for = set(distributions(model, max_epochs, tuple(sorted(point.items()))))
        if lacking := asked_for - set(points):
            raise SearchError(
                f"--sampler grid has no values of {min(lacking)}: fix it with --set, too, or take "
                "another sampler"
            )
        if unused := set(fixed) - asked_for:
            raise SearchError(
                f"--sampler grid has no point that asks for {min(unused)}: fix what it depends "
                "on with --set, too, or take another sampler"
            )
    return points


@lru_cache(maxsize=32)
def distributions(
    model: str, max_epochs: int, fixed: tuple[tuple[str, Any], ...] = ()
) -> Mapping[str, BaseDistribution]:
    """Every parameter that the space may ask for beside ``fixed``, in the order of asking."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    found: dict[str, BaseDistribution] = {}
    for _ in range(1 if fixed and is_complete(dict(fixed), model, max_epochs) else _DRAWS):
        study.enqueue_trial(dict(fixed))
        trial = study.ask()
        ask(trial, model, max_epochs)
        found |= trial.distributions
    return found


def ask(trial: BaseTrial, model: str, max_epochs: int) -> TrialConfig:
    """Have the space ask ``trial`` for its parameters, whatever the data are."""
    task = Task(vocabulary_size=1, embedding_dim=1, num_classes=2, max_epochs=max_epochs)
    return SEARCH_SPACES[model](trial, task)


def spelled(params: Mapping[str, Any]) -> str:
    """Parameters as ``--set`` takes them, the hidden layers in one; every digit of a number."""
    shown = {}
    num_layers = params.get("num_layers")
    widths = [params.get(f"{_WIDTH}{layer}") for layer in range(1, (num_layers or 0) + 1)]
    joined = num_layers is not None and None not in widths
    for name, value in params.items():
        if joined and (name == "num_layers" or name.startswith(_WIDTH)):
            shown["hidden_sizes"] = ",".join(map(str, widths)) or "none"
        elif isinstance(value, bool):
            shown[name] = "yes" if value else "no"
        else:
            shown[name] = str(value)
    return " ".join(f"{name}={value}" for name, value in shown.items())


def values_of(distribution: BaseDistribution) -> str:
    """The range or the choices, for people."""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(map(_shown, distribution.choices))
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return f"{low} to {high}"


def _read(name: str, value: str, model: str, max_epochs: int) -> dict[str, Any]:
    """What one ``name=value`` fixes; several parameters for hidden_sizes."""
    space = distributions(model, max_epochs)
    if name == "hidden_sizes" and "num_layers" in space:
        widths = [] if value == "none" else value.split(",")
        most = getattr(space["num_layers"], "high", 0)
        if len(widths) > most:
            raise SearchError(
                f"hidden_sizes={value} has {len(widths)} layers; give at most {most}"
            )
        sizes = {f"{_WIDTH}{layer}": width for layer, width in enumerate(widths, start=1)}
        read = {key: _value(key, width.strip(), space[key]) for key, width in sizes.items()}
        return {"num_layers": len(widths), **read}
    if name not in space:
        raise SearchError(_unknown(name, model, max_epochs))
    return {name: _value(name, value, space[name])}


def _value(name: str, text: str, distribution: BaseDistribution) -> Any:
    """The value that ``text`` spells.

    Raises:
        SearchError: It is none of the distribution.
    """
    value: Any = None
    if isinstance(distribution, CategoricalDistribution):
        plain = "".join(text.split()).strip("[]()")
        choices = {str(choice): choice for choice in distribution.choices}
        value = choices.get(plain)
        if set(distribution.choices) == {True, False}:
            value = _BOOLEANS.get(plain.lower())
    else:
        kind = int if isinstance(distribution, IntDistribution) else float
        try:
            value = kind(text)
        except ValueError:
            value = None
    if value is None or not _contains(distribution, value):
        raise SearchError(_outside(name, text, distribution))
    return value


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(type(value) is type(c) and value == c for c in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    if isinstance(distribution, FloatDistribution):
        return distribution.low <= value <= distribution.high
    return bool(float(value).is_integer() and distribution._contains(value))


def _outside(name: str, value: Any, distribution: BaseDistribution) -> str:
    kind = "a whole number, " if isinstance(distribution, IntDistribution) else ""
    return (
        f"{name}={_shown(value)} is not in the search space; give {kind}{values_of(distribution)}"
    )


def _unknown(name: str, model: str, max_epochs: int) -> str:
    known = [*distributions(model, max_epochs), "hidden_sizes"]
    others = [key for key in SEARCH_SPACES if name in distributions(key, max_epochs)]
    hint = f"it has {', '.join(key for key in known if not key.startswith(_WIDTH))}"
    if name in _OPTIONS:
        hint = f"give it with {_OPTIONS[name]}"
    elif others:
        hint = f"only {', '.join(others)} has it"
    elif close := difflib.get_close_matches(name, known, n=2):
        hint = f"did you mean {' or '.join(close)}?"
    return f"the {model} has no parameter {name!r}; {hint}"


def _shown(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
