"""Small learnable titles, and the command line as a user meets it."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from data_utils import open_prepared

ROOT = Path(__file__).resolve().parent.parent.parent
CATEGORIES = {
    "SHOES": "zapato bota sandalia tacón cuero suela cordón talla".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo pie led".split(),
    "PHONES": "teléfono celular funda cargador batería pantalla móvil cable".split(),
    "KITCHEN": "olla sartén cuchillo taza plato cuchara horno mesa".split(),
}
COMMON = "nuevo oferta original grande negro blanco calidad envío".split()


@pytest.fixture(autouse=True)
def without_mlflow(mlflow_is_away):
    """Searches that look at MLflow say ``MLFLOW_TRACKING_URI=""``."""


@pytest.fixture
def rows():
    """240 distinct titles of 4 categories that a network can tell apart: (title, category)."""
    rng = random.Random(7)
    found = {}
    while len(found) < 240:
        category = sorted(CATEGORIES)[len(found) % 4]
        words = rng.sample(CATEGORIES[category], 3) + rng.sample(COMMON, 2)
        found.setdefault(" ".join(words), category)
    return list(found.items())


@pytest.fixture
def write_table(tmp_path):
    """Write rows of (title, category) as a raw file of the challenge."""

    def write(rows, name="titles.csv"):
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["title", "label_quality", "language", "category"])
            writer.writerows([title, "reliable", "spanish", label] for title, label in rows)
        return path

    return write


@pytest.fixture
def table(rows, write_table):
    return write_table(rows)


@pytest.fixture
def command(tmp_path):
    """Run ``studies.py`` as a process, its output folder under the test's own."""

    def run(*arguments, cwd=tmp_path, timeout=240, **environment):
        return subprocess.run(
            [sys.executable, str(ROOT / "studies.py"), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def small(table):
    """Options of a search that takes a second or two."""
    return ["--data", table, "--dim", "16", "--epochs", "2"]


@pytest.fixture
def write_course_folder(tmp_path):
    """Write the only prepared data of a cache as a course folder, split by split."""

    def write(cache):
        prepared = open_prepared(next((cache / "data").glob("titles-*")))
        folder = tmp_path / "course"
        folder.mkdir()
        for split in ("train", "validation", "test"):
            titles = getattr(prepared, split)
            with gzip.open(folder / f"spanish.{split}.jsonl.gz", "wt", encoding="utf-8") as file:
                for index in range(len(titles)):
                    file.write(json.dumps(_course_record(prepared, titles, index, split)) + "\n")
        return folder

    return write


def _course_record(prepared, titles, index, split):
    ids = titles.token_ids[titles.offsets[index] : titles.offsets[index + 1]]
    return {
        "language": "spanish",
        "label_quality": "reliable",
        "title": titles.text(index),
        "category": prepared.labels[titles.labels[index]],
        "split": split,
        "tokenized_title": [prepared.vocabulary.tokens[token] for token in ids],
        "data": [int(token) for token in ids],
        "target": int(titles.labels[index]),
        "n_labels": len(prepared.labels),
        "size": len(titles),
    }
