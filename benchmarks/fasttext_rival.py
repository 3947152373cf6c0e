"""fastText's supervised mode with autotune, in a process of its own whose memory is bounded.

Autotune tries up to ten million buckets of up to a thousand numbers; what does not fit into the
memory that the process may have, it leaves out. It maximises F1 over titles, the only aim beside
the F1 of one category that it offers, and trains its choice once more when its time is over,
however long that takes.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.rivals import Found, raw_texts
from data_utils import PreparedData

MEMORY_BYTES = 8 * 2**30
#: Times the search's own: how long its last training may go on.
PATIENCE = 3
PARTS = ("train", "validation", "test")


def fasttext(
    prepared: PreparedData, *, seconds: float, seed: int, threads: int, scratch: Path
) -> Found:
    """Write the titles, have another process search, and read what it found."""
    for name in PARTS:
        titles = getattr(prepared, name)
        texts = [" ".join(re.findall(r"\w+|[^\w\s]", text.lower())) for text in raw_texts(titles)]
        lines = [f"__label__{k} {t}" for k, t in zip(titles.labels.tolist(), texts, strict=True)]
        (scratch / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = {"folder": str(scratch), "seconds": seconds, "seed": seed, "threads": threads}
    command = [sys.executable, "-m", "benchmarks.fasttext_rival", json.dumps(given)]
    try:
        limit = 60 + (1 + PATIENCE) * seconds
        # Its progress goes to both streams, whatever verbose says.
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Found(seconds=limit)
    return Found(**json.loads((scratch / "found.json").read_text("utf-8")))


def search(folder: Path, *, seconds: float, seed: int, threads: int) -> Found:
    """Tune and train on the files of ``folder``; both figures are of the last training."""
    import fasttext as library

    started = time.perf_counter()
    model = library.train_supervised(
        str(folder / "train"),
        autotuneValidationFile=str(folder / "validation"),
        autotuneDuration=max(1, round(seconds)),
        seed=seed,
        thread=threads,
        verbose=0,
    )
    found = Found(seconds=time.perf_counter() - started, trials=1)
    found.improved(found.seconds, _score(model, folder / "validation"))
    found.test = _score(model, folder / "test")
    return found


def _score(model: Any, path: Path) -> float:
    from sklearn.metrics import recall_score

    pairs = [line.partition(" ") for line in path.read_text("utf-8").splitlines()]
    guesses, _ = model.predict([text for _, _, text in pairs])
    truth = [label for label, _, _ in pairs]
    # Balanced accuracy; a title without a known word gets no label.
    names = [guess[0] if guess else "" for guess in guesses]
    return float(recall_score(truth, names, labels=sorted(set(truth)), average="macro"))


def main() -> None:
    """Search as ``fasttext`` above asks for in the only argument."""
    given = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    folder = Path(given.pop("folder"))
    (folder / "found.json").write_text(json.dumps(asdict(search(folder, **given))), "utf-8")


if __name__ == "__main__":
    main()
