"""Any number of titles for measurements of size: real rows, recombined.

A title is the beginning of one real title of a category and the end of another; one in twenty gets
an invented word, because the vocabulary of real titles goes on growing with their number.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from data_utils import DataSpec, prepare
from data_utils.sat import read_catalogue

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


def stretches_of_the_catalogue(number: int) -> dict[str, list[str]]:
    """Category -> titles: the built-in catalogue, in the order of its codes, in equal parts."""
    titles = [str(title) for block in read_catalogue("family") for title, *_ in block]
    bounds = [len(titles) * n // number for n in range(number + 1)]
    return {f"PART_{n:04}": titles[a:b] for n, (a, b) in enumerate(pairwise(bounds))}


def long_tail(number: int) -> list[float]:
    """Shares of categories of which the first has a tenth of the titles, the last of 632 one
    in 40,000."""
    weights = [1 / (n + 10) ** 2 for n in range(number)]
    return [weight / sum(weights) for weight in weights]


def write_titles(
    path: Path,
    count: int,
    real: dict[str, list[str]],
    *,
    seed: int = 0,
    shares: Sequence[float] | None = None,
    invented: float = INVENTED_SHARE,
) -> None:
    """``count`` rows as the challenge's raw CSV; nothing is done if the file is there.

    ``shares`` are those of the categories, None their real ones; ``invented`` is that of titles
    with an invented word.
    """
    if path.exists():
        return
    rng = random.Random(seed)
    words = {category: [title.split() for title in titles] for category, titles in real.items()}
    categories = list(words)
    sizes = shares or [len(words[category]) for category in categories]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "label_quality", "language", "category"])
        for category in _chosen(rng, categories, sizes, count):
            title = _recombined(rng, words[category], invented)
            writer.writerow([title, "unreliable", "spanish", category])
    os.replace(partial, path)


def _chosen(
    rng: random.Random, categories: list[str], sizes: Sequence[float], count: int
) -> list[str]:
    """Categories by their sizes; each twice at least, as a split needs."""
    twice = 2 * categories
    if count <= len(twice):
        raise ValueError(f"{count} titles are too few for {len(categories)} categories")
    chosen = twice + rng.choices(categories, weights=sizes, k=count - len(twice))
    rng.shuffle(chosen)
    return chosen


def _recombined(rng: random.Random, titles: list[list[str]], invented: float) -> str:
    first, second = rng.choice(titles), rng.choice(titles)
    words = first[: rng.randint(1, max(1, len(first)))] + second[rng.randint(0, len(second)) :]
    if rng.random() < invented:
        words.append("".join(rng.choices(_LETTERS, k=rng.randint(4, 8))))
    return " ".join(words)
