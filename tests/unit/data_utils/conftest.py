import csv
import json
import random
from pathlib import Path

import pytest

WORDS = [a + b for a in "zapato mesa lampara cable gato piso".split() for b in "abcdefghij"]
HEADER = ["title", "label_quality", "language", "category"]


@pytest.fixture
def rows():
    """200 rows of the challenge's raw form: 4 categories, distinct titles."""
    rng = random.Random(1)
    return [
        [
            " ".join(rng.sample(WORDS, 4)) + f" Nº{i}",
            "reliable" if i % 2 else "unreliable",
            "spanish" if i % 4 < 2 else "portuguese",
            f"CLASS_{i % 4}",
        ]
        for i in range(200)
    ]


@pytest.fixture
def write_csv(tmp_path):
    def write(rows, name="titles.csv", header=HEADER):
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def write_course(tmp_path):
    """Write a course folder: {"spanish.train": rows, ...} as gzipped JSON lines."""
    import gzip

    def write(parts, name="course"):
        folder = tmp_path / name
        folder.mkdir()
        targets: dict[str, int] = {}
        for part, rows in parts.items():
            with gzip.open(folder / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
                for title, quality, language, category in rows:
                    record = {
                        "language": language,
                        "label_quality": quality,
                        "title": title,
                        "category": category,
                        "split": part.split(".")[1],
                        "tokenized_title": title.split(),
                        "data": [1, 2, 3],
                        "target": targets.setdefault(category, len(targets)),
                        "n_labels": 4,
                        "size": len(rows),
                    }
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
        return folder

    return write


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"
