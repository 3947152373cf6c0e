"""The experiments of the three students whose networks these are, and what theirs scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.spaces import student_cnn, student_mlp

_MLP_EPOCHS = 5
_CNN_EPOCHS = (3, 5, 10)
_CNN_FILTERS = ((100, "2,3,4"), (200, "4,6,7"))
# Test balanced accuracy in their MLflow records, by (dropout, batch size, frozen).
_MLP_RECORDS = {
    (0.3, 256, False): 0.904,
    (0.3, 256, True): 0.423,
    (0.3, 128, False): 0.891,
    (0.3, 128, True): 0.421,
}
# Of the runs with dropout 0.7 they tell the lowest and the highest alone.
_MLP_STRONG_DROPOUT = (0.048, 0.315)
_CNN_RECORDS = {(100, "2,3,4", 5): 0.754}


@dataclass(frozen=True)
class Experiment:
    """One of their runs.

    Attributes:
        name: For people; unique.
        params: Of our search space.
        epochs: Of the whole run.
        theirs: Lowest and highest test balanced accuracy that their record allows; equal where it
            is one number, None where they have none.
    """

    name: str
    model: str
    params: dict[str, Any]
    epochs: int
    theirs: tuple[float, float] | None


def experiments(model: str, most_epochs: int | None = None) -> list[Experiment]:
    """Their runs of a model; ``most_epochs`` shortens them, which leaves their figures out."""
    return {"mlp": _mlp, "cnn": _cnn}[model](most_epochs or max(_CNN_EPOCHS))


def _mlp(most_epochs: int) -> list[Experiment]:
    epochs = min(_MLP_EPOCHS, most_epochs)
    found = []
    for dropout in (0.3, 0.7):
        for batch in (128, 256):
            for frozen in (False, True):
                record = _MLP_RECORDS.get((dropout, batch, frozen))
                theirs = _MLP_STRONG_DROPOUT if record is None else (record, record)
                vectors = "frozen" if frozen else "trained"
                found.append(
                    Experiment(
                        name=f"MLP, dropout {dropout}, batches of {batch}, vectors {vectors}",
                        model="mlp",
                        params=student_mlp(dropout, batch, freeze_embeddings=frozen),
                        epochs=epochs,
                        theirs=theirs if epochs == _MLP_EPOCHS else None,
                    )
                )
    return found


def _cnn(most_epochs: int) -> list[Experiment]:
    found = []
    for filters, lengths in _CNN_FILTERS:
        for epochs in sorted({min(epochs, most_epochs) for epochs in _CNN_EPOCHS}):
            record = _CNN_RECORDS.get((filters, lengths, epochs))
            found.append(
                Experiment(
                    name=f"CNN, {filters} filters of [{lengths}], vectors frozen, "
                    f"{epochs} epoch{'s' * (epochs > 1)}",
                    model="cnn",
                    params=student_cnn(filters, lengths, num_epochs=epochs),
                    epochs=epochs,
                    theirs=None if record is None else (record, record),
                )
            )
    return found
