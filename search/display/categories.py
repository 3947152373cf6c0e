"""Categories that no trial can be right about, or of which nobody will know: said by name."""

from __future__ import annotations

import numpy as np

from data_utils import PreparedData
from data_utils.errors import one_line

_SHOWN = 3


def missing_categories(prepared: PreparedData) -> list[tuple[str, str]]:
    """For each part that lacks categories: what they lack, and how many and which they are."""
    num_labels = len(prepared.labels)
    parts = {
        "train": prepared.train,
        "validation": prepared.validation,
        "test": prepared.test,
    }
    counts = {
        name: np.bincount(titles.labels, minlength=num_labels) for name, titles in parts.items()
    }
    sizes = np.sum(list(counts.values()), axis=0)
    found = []
    for name, of_part in counts.items():
        missing = np.flatnonzero(of_part == 0)
        if len(missing):
            largest = missing[np.argsort(-sizes[missing], kind="stable")].tolist()
            names = [
                f"{one_line(prepared.labels[k])[:40]}, {sizes[k] / sizes.sum():.1%} of the titles"
                for k in largest[:_SHOWN]
            ]
            names += ["..."] * (len(largest) > _SHOWN)
            what = f"categories without {name} titles"
            found.append((what, f"{len(largest):,} ({'; '.join(names)})"))
    return found
