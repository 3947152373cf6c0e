"""The plain reference: a training script written the way the course's script works.

It opens the JSON lines (gzip) again for every epoch, parses each row with ``json.loads``,
shuffles through a buffer of 2,048 rows, pads the batch in Python, averages or convolves the
padded sequence, updates with dense Adam, reads the loss with ``.item()`` after every batch,
and scores with scikit-learn at the end of the epoch.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

SHUFFLE_BUFFER = 2048


class JsonLines(IterableDataset[dict[str, Any]]):
    """The rows of a course file, parsed anew by each pass."""

    def __init__(self, path: Path, *, shuffle: bool) -> None:
        self.path, self.shuffle = path, shuffle

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with gzip.open(self.path, "rt", encoding="utf-8") as file:
            rows = (json.loads(line.strip()) for line in file)
            items = ({"data": row["data"], "target": row["target"]} for row in rows)
            if not self.shuffle:
                yield from items
                return
            while buffer := list(itertools.islice(items, SHUFFLE_BUFFER)):
                random.shuffle(buffer)
                yield from buffer


class PadSequences:
    """Rows to tensors of one length: the longest title of the batch, at least ``min_length``."""

    def __init__(self, min_length: int = 1) -> None:
        self.min_length = min_length

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        data, target = zip(*[(item["data"], item["target"]) for item in items], strict=True)
        length = max(self.min_length, max(len(d) for d in data))
        padded = [d + [0] * (length - len(d)) for d in data]
        return {"data": torch.LongTensor(padded), "target": torch.LongTensor(target)}


def hidden_layers(in_features: int, sizes: list[int]) -> nn.ModuleList:
    """The hidden stack of both networks, without its activations."""
    pairs = itertools.pairwise([in_features, *sizes])
    return nn.ModuleList([nn.Linear(inner, outer) for inner, outer in pairs])


class ReferenceMLP(nn.Module):
    """Mean over the padded sequence, hidden layers with ReLU and dropout."""

    def __init__(
        self, vectors: Tensor, *, freeze: bool, hidden: list[int], num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(vectors, freeze=freeze, padding_idx=0)
        self.hidden = hidden_layers(vectors.shape[1], hidden)
        self.output = nn.Linear(hidden[-1], num_classes)
        self.dropout = dropout

    def forward(self, data: Tensor) -> Tensor:
        x = torch.mean(self.embeddings(data), dim=1)
        for layer in self.hidden:
            x = nn.functional.dropout(torch.relu(layer(x)), self.dropout, self.training)
        return self.output(x)


class ReferenceCNN(nn.Module):
    """One ``Conv1d`` per filter length, global max pooling, hidden layers."""

    def __init__(
        self,
        vectors: Tensor,
        *,
        freeze: bool,
        filters: int,
        lengths: tuple[int, ...],
        hidden: list[int],
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(vectors, freeze=freeze, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(vectors.shape[1], filters, n) for n in lengths])
        self.hidden = hidden_layers(filters * len(lengths), hidden)
        self.output = nn.Linear(hidden[-1], num_classes)
        self.dropout = dropout

    def forward(self, data: Tensor) -> Tensor:
        x = self.embeddings(data).transpose(1, 2)
        pools = [torch.relu(conv(x).max(dim=-1)[0]) for conv in self.convs]
        x = torch.cat(pools, dim=1)
        for layer in self.hidden:
            x = nn.functional.dropout(torch.relu(layer(x)), self.dropout, self.training)
        return self.output(x)


def loader(path: Path, *, batch_size: int, shuffle: bool, min_length: int) -> DataLoader[Any]:
    """Batches of a course file, padded in Python."""
    return DataLoader(
        JsonLines(path, shuffle=shuffle),
        batch_size=batch_size,
        collate_fn=PadSequences(min_length),
    )


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any) -> float:
    """One pass over the training file; the mean loss of the batches."""
    model.train()
    loss_function = nn.CrossEntropyLoss()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = loss_function(model(batch["data"]), batch["target"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def evaluate(model: nn.Module, batches: Any) -> float:
    """Balanced accuracy over a file."""
    from sklearn.metrics import balanced_accuracy_score

    model.eval()
    loss_function = nn.CrossEntropyLoss()
    losses, targets, predictions = [], [], []
    with torch.no_grad():
        for batch in batches:
            output = model(batch["data"])
            losses.append(loss_function(output, batch["target"]).item())
            targets.extend(batch["target"].numpy())
            predictions.extend(output.argmax(axis=1).detach().cpu().numpy())
    return float(balanced_accuracy_score(targets, predictions))
