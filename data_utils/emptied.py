"""Titles that cleaning leaves nothing of: how many, and which of its steps is to blame."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from data_utils.cleaning import Cleaning, TitleEncoder

if TYPE_CHECKING:
    from data_utils.prepared import PreparedData

_NOTEWORTHY_SHARE = 0.2
_NUM_SAMPLED = 1_000
# What may be switched off, and how.
_STEPS: dict[str, dict[str, Any]] = {
    "--keep-numbers": {"numbers": False},
    "--min-letters 1": {"min_letters": 1},
    "--stop-words none": {"stop_words": ()},
    "--keep-punctuation": {"punctuation": False},
    "--keep-tags": {"tags": False},
    "--keep-numbers --min-letters 1": {"numbers": False, "min_letters": 1},
    "--stop-words none --min-letters 1": {"stop_words": (), "min_letters": 1},
}


def describe_emptied(prepared: "PreparedData", cleaning: Cleaning) -> str | None:
    """One line if more than a fifth of the titles have no token; None if fewer have none."""
    num_emptied = int(prepared.summary["titles_without_tokens"])
    num_titles = sum(prepared.summary["splits"].values())
    if num_emptied <= _NOTEWORTHY_SHARE * num_titles:
        return None
    train = prepared.train
    indices = np.flatnonzero(np.diff(train.offsets) == 0)
    titles = [train.text(index) for index in islice(indices.tolist(), _NUM_SAMPLED)]
    return (
        f"{num_emptied:,} of {num_titles:,} titles of {prepared.name} have no token after "
        f"cleaning, so nothing tells their categories apart: {advise(titles, cleaning)}"
    )


def advise(titles: Sequence[str], cleaning: Cleaning) -> str:
    """What to switch off so that most of these titles, of which nothing is left, have tokens."""
    num_with_tokens = {
        options: _count_with_tokens(titles, replace(cleaning, **changes))
        for options, changes in _STEPS.items()
    }
    best = max(num_with_tokens, key=lambda options: num_with_tokens[options])
    if not num_with_tokens[best]:
        return "no cleaning step is the cause, the titles themselves hold no words"
    return f"{best} leaves tokens in {num_with_tokens[best]:,} of {len(titles):,} of them"


def _count_with_tokens(titles: Sequence[str], cleaning: Cleaning) -> int:
    _, offsets = TitleEncoder(cleaning).encode(titles)
    return int((np.diff(offsets) > 0).sum())
