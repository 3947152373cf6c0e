"""Titles per second of training and evaluation, against the plain reference.

    python -m benchmarks.throughput --json FILE [--quick] [--markdown FILE]

Both sides train the same networks on the same synthetic titles: 50,002 words x 300, hidden
layers 512-256-256-128, 632 classes, dropout 0.3, lengths and word frequencies like those of
product titles. Each side has a process of its own. The reference goes through its file once per
turn; ours through the trainer, as a trial does: shuffling, loss, optimizer, an evaluation on a few
titles and the copy of the best weights included. Frozen, ours reads pooled features, whose
computation (once for a data set, shared by all trials) is timed apart. The course's CNN has
frozen embeddings, so ``cnn`` is that one. "bound" is the ratio of an MLP's matrix products alone,
with nothing around them: what no training of this network in this precision can pass on this
machine.

Run it on an otherwise idle machine: threads that wait for each other lose most where others work.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import reference
from benchmarks.report import (
    Spread,
    machine,
    markdown_table,
    rates_in_turn,
    ratios,
    write_json,
)
from benchmarks.sides import Side
from models import CNNConfig, MLPConfig, build_model
from models.evaluation import evaluate
from models.examples import Examples
from models.process import prepare_process
from models.training import Trainer, TrainingConfig, has_bfloat16

VOCABULARY_SIZE, EMBEDDING_DIM, NUM_CLASSES = 50_002, 300, 632
HIDDEN, DROPOUT = (512, 256, 256, 128), 0.3
NUM_FILTERS, FILTER_LENGTHS = 200, (4, 6, 7)
#: name -> (CNN?, frozen?, our titles in one turn, the reference's)
CASES = {
    "frozen_mlp": (False, True, 65_536, 8_192),
    "unfrozen_mlp": (False, False, 32_768, 1_024),
    "cnn": (True, True, 16_384, 2_048),
    "unfrozen_cnn": (True, False, 12_288, 1_024),
}


def synthetic_titles(num_titles: int, *, seed: int = 0) -> Examples:
    """Titles of 1 to 20 words, 6.5 on average; word frequencies after Zipf's law."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.poisson(5.5, num_titles) + 1, 1, 20)
    offsets = np.concatenate([[0], lengths.cumsum()])
    weights = 1 / np.arange(10, VOCABULARY_SIZE + 8)
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(offsets[-1]))
    token_ids = (2 + np.minimum(ranks, VOCABULARY_SIZE - 3)).astype(np.int32)
    labels = rng.integers(0, NUM_CLASSES, num_titles)
    return Examples(*(torch.from_numpy(array) for array in (token_ids, offsets, labels)))


def write_course_file(path: Path, titles: Examples) -> None:
    """The titles as the course's JSON lines."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for row in range(len(titles)):
            title = titles.slice(row, row + 1)
            ids, label = title.token_ids.tolist(), int(title.labels)
            words = [f"palabra{i}" for i in ids]
            row_fields = {
                "language": "spanish",
                "label_quality": "unreliable",
                "title": " ".join(words),
                "category": f"CATEGORY_{label}",
                "split": "train",
                "tokenized_title": words,
                "data": ids,
                "target": label,
                "n_labels": NUM_CLASSES,
                "size": len(titles),
            }
            file.write(json.dumps(row_fields) + "\n")


def word_vectors() -> torch.Tensor:
    """Vectors (V, E) drawn at random, that of the padding zero."""
    vectors = torch.randn(VOCABULARY_SIZE, EMBEDDING_DIM, generator=torch.manual_seed(0)) * 0.1
    vectors[0] = 0
    return vectors


def our_cases(
    name: str, *, num_titles: int, batch_size: int, turns: int, threads: int
) -> dict[str, Callable[[], float]]:
    """Training (an epoch of the trainer) and evaluation of ours; the bound, where there is one."""
    prepare_process()
    torch.set_num_threads(threads)
    is_cnn, frozen, *_ = CASES[name]
    titles, vectors, pooling_seconds = synthetic_titles(num_titles), word_vectors(), 0.0
    if frozen and not is_cnn:
        started = time.perf_counter()
        titles = with_pooled_features(titles, vectors)
        pooling_seconds = time.perf_counter() - started
    shape: dict[str, Any] = {
        "vocabulary_size": VOCABULARY_SIZE,
        "embedding_dim": EMBEDDING_DIM,
        "num_classes": NUM_CLASSES,
        "hidden_sizes": HIDDEN,
        "dropout": DROPOUT,
        "freeze_embeddings": frozen,
    }
    config: MLPConfig | CNNConfig
    if is_cnn:
        config = CNNConfig(num_filters=NUM_FILTERS, filter_lengths=FILTER_LENGTHS, **shape)
    else:
        config = MLPConfig(**shape)
    model = build_model(config, vectors)
    settings = TrainingConfig(
        num_epochs=turns, batch_size=batch_size, weight_decay=1e-5, evaluations_per_epoch=1
    )
    few = titles.slice(0, 256)
    validation = Examples(few.token_ids, few.offsets, few.labels, few.pooled)
    run = Trainer(model, settings, titles, validation).run()

    def train() -> float:
        next(run)
        return len(titles)

    def score() -> float:
        evaluate(model, titles)
        return len(titles)

    cases: dict[str, Callable[[], float]] = {"train": train, "evaluate": score}
    if not is_cnn:
        cases["bound"] = matrix_products(
            frozen=frozen, batch_size=batch_size, num_titles=num_titles
        )
    if pooling_seconds:
        cases["pooling seconds"] = lambda: pooling_seconds
    return cases


def reference_cases(
    name: str, path: Path, *, batch_size: int, num_titles: int, threads: int
) -> dict[str, Callable[[], float]]:
    """Training (a pass over the file) and evaluation of the reference."""
    torch.set_num_threads(threads)
    vectors = word_vectors()
    is_cnn, frozen, *_ = CASES[name]
    shape: dict[str, Any] = {
        "freeze": frozen,
        "hidden": list(HIDDEN),
        "num_classes": NUM_CLASSES,
        "dropout": DROPOUT,
    }
    model: torch.nn.Module
    if is_cnn:
        model = reference.ReferenceCNN(
            vectors, filters=NUM_FILTERS, lengths=FILTER_LENGTHS, **shape
        )
    else:
        model = reference.ReferenceMLP(vectors, **shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    min_length = max(FILTER_LENGTHS) if is_cnn else 1

    def batches(*, shuffle: bool) -> Any:
        return reference.loader(
            path, batch_size=batch_size, shuffle=shuffle, min_length=min_length
        )

    def train() -> float:
        reference.train_epoch(model, optimizer, batches(shuffle=True))
        return num_titles

    def score() -> float:
        reference.evaluate(model, batches(shuffle=False))
        return num_titles

    return {"train": train, "evaluate": score}


def measure(
    name: str, *, batch_size: int, repeats: int, share: int, threads: int
) -> dict[str, Any]:
    """Rates and ratios of one network at one batch size, each side in a process of its own."""
    _, _, num_ours, num_plain = CASES[name]
    num_ours, num_plain = num_ours // share, num_plain // share
    shape = {"batch_size": batch_size, "threads": threads}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "titles.jsonl.gz"
        write_course_file(path, synthetic_titles(num_plain, seed=1))
        with (
            Side(our_cases, name, num_titles=num_ours, turns=repeats + 1, **shape) as ours,
            Side(reference_cases, name, path, num_titles=num_plain, **shape) as plain,
        ):
            for phase in ("train", "evaluate"):
                cases = {"reference": plain.case(phase), "ours": ours.case(phase)}
                if phase == "train" and "bound" in ours.names:
                    cases["bound"] = ours.case("bound")
                rates = rates_in_turn(cases, repeats=repeats)
                found[phase] = {
                    "ours": asdict(Spread.of(rates["ours"])),
                    "reference": asdict(Spread.of(rates["reference"])),
                    "ratio": asdict(ratios(rates, "ours", "reference")),
                }
                if "bound" in cases:
                    found[phase]["bound"] = asdict(ratios(rates, "bound", "reference"))
            if "pooling seconds" in ours.names:
                seconds = ours.case("pooling seconds")()
                found["pooling_seconds_per_million_titles"] = seconds / num_ours * 1e6
    return found


def matrix_products(*, frozen: bool, batch_size: int, num_titles: int) -> Callable[[], float]:
    """The products of an MLP's layers, forward and backward, as training takes them."""
    dtype = torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32
    widths = itertools.pairwise((EMBEDDING_DIM, *HIDDEN, NUM_CLASSES))
    layers = [
        (
            torch.randn(batch_size, inner).to(dtype),
            torch.randn(inner, outer).to(dtype).t(),
            torch.randn(batch_size, outer).to(dtype),
        )
        for inner, outer in widths
    ]

    def multiply() -> float:
        for _ in range(num_titles // batch_size):
            for number, (inputs, weight, gradient) in enumerate(layers):
                torch.mm(inputs, weight.t())
                torch.mm(inputs.t(), gradient)
                if number > 0 or not frozen:
                    torch.mm(gradient, weight)
        return num_titles

    return multiply


def with_pooled_features(titles: Examples, vectors: torch.Tensor) -> Examples:
    """The titles with the mean of their vectors."""
    pooled = torch.nn.functional.embedding_bag(
        titles.token_ids,
        vectors,
        titles.offsets.int(),
        mode="mean",
        include_last_offset=True,
    )
    return Examples(titles.token_ids, titles.offsets, titles.labels, pooled)


def table_row(name: str, batch_size: int, found: dict[str, Any]) -> list[str]:
    """One line of the printed table."""
    cells = [name, str(batch_size)]
    for phase in ("train", "evaluate"):
        for side in ("ours", "reference"):
            cells.append(f"{found[phase][side]['median']:,.0f}")
        cells.append(Spread(**found[phase]["ratio"]).text(1))
        if phase == "train":
            bound = found[phase].get("bound")
            cells.append(Spread(**bound).text(1) if bound else "")
    return cells


def main() -> None:
    """Measure every network, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    parser.add_argument("--quick", action="store_true", help="under two minutes: batch 128 only")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for both sides")
    arguments = parser.parse_args()
    repeats, share, batch_sizes = (3, 2, [128]) if arguments.quick else (5, 1, [128, 256])
    content: dict[str, Any] = {"machine": machine() | {"threads": arguments.threads}}
    rows = []
    for name in CASES:
        for batch_size in batch_sizes:
            found = measure(
                name,
                batch_size=batch_size,
                repeats=repeats,
                share=share,
                threads=arguments.threads,
            )
            content.setdefault(name, {})[f"batch_{batch_size}"] = found
            rows.append(table_row(name, batch_size, found))
            print(" ".join(rows[-1]), flush=True)
        content[name]["ratio"] = content[name]["batch_128"]["train"]["ratio"]["median"]
    header = ["network", "batch", "train/s", "reference", "ratio", "bound"]
    header += ["evaluate/s", "ref.", "ratio "]
    table = markdown_table(header, rows)
    print(f"\nTitles per second, medians of {repeats} turns, ratios with their spread\n\n{table}")
    if arguments.json:
        write_json(arguments.json, content)
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
