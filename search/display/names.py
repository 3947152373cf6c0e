"""What a trial is called where only its number would stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.study import BASELINE_ATTR, START_ATTR


def trial_name(params: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    """A configuration in some words: where it comes from, else what it is."""
    if BASELINE_ATTR in attributes:
        return f"baseline: {attributes[BASELINE_ATTR]}"
    return f"good start: {_words(params)}" if START_ATTR in attributes else _words(params)


def _words(params: Mapping[str, Any]) -> str:
    parts = []
    if "num_filters" in params:
        parts.append(f"{params['num_filters']} filters of {params['filter_lengths']}")
    if "num_layers" in params:
        layers = range(1, params["num_layers"] + 1)
        widths = "-".join(str(params[f"hidden_size_{layer}"]) for layer in layers)
        parts.append(f"hidden {widths}" if widths else "no hidden layer")
    if "freeze_embeddings" in params:
        parts.append("frozen" if params["freeze_embeddings"] else "unfrozen")
    for name, word in {
        "dropout": "dropout",
        "batch_size": "batch",
        "learning_rate": "rate",
    }.items():
        if name in params:
            value = params[name]
            parts.append(f"{word} {value:.2g}" if isinstance(value, float) else f"{word} {value}")
    return ", ".join(parts)
