"""Titles per second of `studies.py predict`, and how long one title takes.

    python -m benchmarks.prediction [--quick] [--json FILE] [--markdown FILE]

Networks of the challenge's size (50,000 words x 300, 632 categories) with random weights, exported
as `export` does, over made-up titles: about 6.5 words, frequencies after Zipf's law, one word in
twenty unknown to the vocabulary. *In batch* is all that the command does from a text file to CSV,
once the model is open; *one at a time* calls the same model title by title. Both take turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Report, options, verdict
from benchmarks.report import Spread, rates_in_turn, ratios
from data_utils import Cleaning, Vocabulary
from data_utils.stemming import Stemmer
from data_utils.title_streams import Oddities, read_titles
from models import CNNConfig, MLPConfig, build_model
from prediction.lines import lines
from prediction.predictor import Predictor, open_predictor
from prediction.stream import predict_stream
from search.results.model_folder import new_folder, write_model

TARGET = 20_000  # titles per second in batch on two cores
ROOT = Path(__file__).resolve().parents[1]
NUM_WORDS, EMBEDDING_DIM, NUM_CLASSES = 50_000, 300, 632
UNKNOWN_SHARE = 0.05
_SIZE: dict[str, Any] = {
    "vocabulary_size": 0,
    "embedding_dim": EMBEDDING_DIM,
    "num_classes": NUM_CLASSES,
}
#: What searches choose (no hidden layers), and what the course had.
NETWORKS: dict[str, MLPConfig | CNNConfig] = {
    "MLP": MLPConfig(**_SIZE, hidden_sizes=()),
    "MLP 512-256-256-128": MLPConfig(**_SIZE, hidden_sizes=(512, 256, 256, 128)),
    "CNN 100 x 1,2,3": CNNConfig(**_SIZE, filter_lengths=(1, 2, 3), hidden_sizes=()),
    "CNN 100 x 2,3,4": CNNConfig(**_SIZE, hidden_sizes=(512, 512, 256, 128)),
}


def word(number: int) -> str:
    """A word of letters, another for each number."""
    letters = ""
    while number or len(letters) < 4:
        number, letter = divmod(number, 20)
        letters += "abcdefghilmnoprstuvz"[letter]
    return letters


def made_titles(count: int) -> list[str]:
    """Titles of 1 to 20 words."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.poisson(5.5, count) + 1, 1, 20)
    weights = 1 / np.arange(10, NUM_WORDS + 10)
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(lengths.sum()))
    unknown = rng.random(len(ranks)) < UNKNOWN_SHARE
    ranks[unknown] = NUM_WORDS + rng.integers(0, 1_000_000, int(unknown.sum()))
    words = [word(rank).capitalize() for rank in ranks.tolist()]
    ends = lengths.cumsum().tolist()
    return [" ".join(words[end - n : end]) for end, n in zip(ends, lengths.tolist(), strict=True)]


def write_folder(config: MLPConfig | CNNConfig, vocabulary: Vocabulary, folder: Path) -> None:
    """An exported model with random weights."""
    sized = type(config)(**{**asdict(config), "vocabulary_size": len(vocabulary)})
    with new_folder(folder) as partial:
        write_model(
            partial,
            build_model(sized),
            vocabulary=vocabulary,
            labels=tuple(f"CATEGORY_{number}" for number in range(NUM_CLASSES)),
            cleaning=Cleaning(),
        )


def measure(predictor: Predictor, path: Path, titles: list[str], repeats: int) -> dict[str, Any]:
    """Rates in batch and one at a time, and the milliseconds that one takes."""
    seconds: list[float] = []

    def in_batch() -> int:
        read = read_titles(path, column=None, oddities=Oddities())
        characters = 0
        for chunk, scored in predict_stream(predictor, read):
            characters += len(lines(chunk, scored, predictor.labels, "csv"))
        assert characters > len(titles)
        return len(titles)

    def one_at_a_time() -> int:
        few = titles[: max(len(titles) // 100, 100)]
        for title in few:
            started = time.perf_counter()
            predictor.predict([title])
            seconds.append(time.perf_counter() - started)
        return len(few)

    rates = rates_in_turn({"one": one_at_a_time, "batch": in_batch}, repeats=repeats)
    return {
        "batch": asdict(Spread.of(rates["batch"])),
        "one_at_a_time": asdict(Spread.of(rates["one"])),
        "ratio": asdict(ratios(rates, "batch", "one")),
        "milliseconds_for_one": statistics.median(seconds) * 1000,
    }


def seconds_of(command: list[str], *, repeats: int) -> list[float]:
    """How long a process takes from its start to its end."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return found


def main() -> None:
    arguments = options(__doc__, quick="a tenth of the titles, two networks").parse_args()
    count, repeats = (20_000, 3) if arguments.quick else (200_000, 5)
    names = list(NETWORKS)[::2] if arguments.quick else list(NETWORKS)
    report = Report()
    titles = made_titles(count)
    vocabulary = Vocabulary(map(word, range(NUM_WORDS)), stemmer=Stemmer("spanish"))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "titles.txt"
        path.write_text("".join(f"{title}\n" for title in titles), "utf-8")
        for network in names:
            folder = Path(name) / network.replace(" ", "_")
            write_folder(NETWORKS[network], vocabulary, folder)
            started = time.perf_counter()
            predictor = open_predictor(folder)
            opened = time.perf_counter() - started
            found[network] = measure(predictor, path, titles, repeats) | {"open_seconds": opened}
        command = [sys.executable, "studies.py", "predict", "--model", str(folder), "una silla"]
        starts = {
            "command with one title": seconds_of(command, repeats=repeats),
            "import torch alone": seconds_of(
                [sys.executable, "-c", "import torch"], repeats=repeats
            ),
        }
    report.content |= {
        "titles": count,
        "networks": found,
        "seconds": {what: asdict(Spread.of(values)) for what, values in starts.items()},
        "cores": len(os.sched_getaffinity(0)),
    }
    _show(report, found, starts)
    report.write(arguments)


def _show(report: Report, found: dict[str, Any], starts: dict[str, list[float]]) -> None:
    rows = [
        [
            network,
            Spread(**figures["batch"]).text(),
            Spread(**figures["one_at_a_time"]).text(),
            Spread(**figures["ratio"]).text(1),
            f"{figures['milliseconds_for_one']:.2f}",
            f"{figures['open_seconds']:.2f}",
        ]
        for network, figures in found.items()
    ]
    report.table(
        "Titles per second",
        ["network", "in batch", "one at a time", "ratio", "ms for one", "s to open"],
        rows,
    )
    report.table(
        "Seconds of a process",
        ["what", "seconds"],
        [[what, Spread.of(values).text(2)] for what, values in starts.items()],
    )
    lowest = min(figures["batch"]["median"] for figures in found.values())
    report.add(
        verdict(f"{TARGET:,} titles/s in batch", lowest >= TARGET, f"{lowest:,.0f} at the least")
    )


if __name__ == "__main__":
    main()
