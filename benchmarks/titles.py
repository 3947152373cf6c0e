"""Any number of titles for measurements of size: real rows, recombined.

A title is the beginning of one real title of a category and the end of another; one in twenty gets
an invented word, because the vocabulary of real titles goes on growing with their number.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from pathlib import Path

from data_utils import DataSpec, prepare

INVENTED_SHARE = 0.05
_LETTERS = "aeioubcdfglmnprstvz"


def real_titles(sources: Sequence[str], cache: Path) -> dict[str, list[str]]:
    """Category -> its titles, of all parts of the sources."""
    found: dict[str, list[str]] = {}
    for source in sources:
        prepared = prepare(DataSpec(source=source, stemmer="none"), cache)
        for titles in (prepared.train, prepared.validation, prepared.test):
            for index, label in enumerate(titles.labels.tolist()):
                name = f"{prepared.name} {prepared.labels[label]}"
                found.setdefault(name, []).append(titles.text(index))
    return found


def write_titles(path: Path, count: int, real: dict[str, list[str]], *, seed: int = 0) -> None:
    """``count`` rows as the challenge's raw CSV; nothing is done if the file is there."""
    if path.exists():
        return
    rng = random.Random(seed)
    words = {category: [title.split() for title in titles] for category, titles in real.items()}
    categories = list(words)
    sizes = [len(words[category]) for category in categories]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "label_quality", "language", "category"])
        for category in _chosen(rng, categories, sizes, count):
            title = _recombined(rng, words[category])
            writer.writerow([title, "unreliable", "spanish", category])
    os.replace(partial, path)


def _chosen(rng: random.Random, categories: list[str], sizes: list[int], count: int) -> list[str]:
    """Categories in their real shares; each twice at least, as a split needs."""
    twice = 2 * categories
    if count <= len(twice):
        raise ValueError(f"{count} titles are too few for {len(categories)} categories")
    chosen = twice + rng.choices(categories, weights=sizes, k=count - len(twice))
    rng.shuffle(chosen)
    return chosen


def _recombined(rng: random.Random, titles: list[list[str]]) -> str:
    first, second = rng.choice(titles), rng.choice(titles)
    words = first[: rng.randint(1, max(1, len(first)))] + second[rng.randint(0, len(second)) :]
    if rng.random() < INVENTED_SHARE:
        words.append("".join(rng.choices(_LETTERS, k=rng.randint(4, 8))))
    return " ".join(words)
