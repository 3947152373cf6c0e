"""The training of one network: it yields its progress, the caller decides."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.balance import class_log_shares, class_weights
from models.base import TitleClassifier
from models.evaluation import evaluate
from models.examples import Examples
from models.functions import Backward, cross_entropy, sums_of_rows
from models.metrics import Metrics
from models.optimizer import LazyRows, Rows, WordNumbers
from models.process import prepare_process
from models.schedule import epoch_order, learning_rates, mixed_seed
from models.weights import DenseWeights


class Diverged(ValueError):
    """The training loss is no longer a finite number."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    ``class_weight_power`` p weighs a class of n training titles by n^-p (0: no weights, 1:
    every class the same in sum), scaled so that the mean weight of a title is 1.
    ``logit_adjustment`` tau adds tau * log(share of the class in train) to the logits in the
    training loss alone (Menon et al. 2021, arXiv:2007.07314): with tau = 1 the network learns
    to maximise balanced accuracy, whose mean over classes knows nothing of their shares.
    ``embedding_learning_rate`` is that of unfrozen word vectors (None: ``learning_rate``).
    ``decay`` lets the learning rate fall linearly to 0 over the whole run. ``patience`` is the
    number of evaluations without a new best balanced accuracy before the training ends.
    ``bfloat16`` takes the matrix products of training in that type, with float32 weights and
    sums (None: where the processor has instructions for it).
    """

    num_epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    class_weight_power: float = 0.0
    logit_adjustment: float = 0.0
    embedding_learning_rate: float | None = None
    evaluations_per_epoch: int = 4
    patience: int | None = None
    seed: int = 0
    label_smoothing: float = 0.0
    decay: bool = False
    bfloat16: bool | None = None


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    ``step`` counts evaluations from 1: step k stands for k / evaluations_per_epoch epochs.
    ``train_loss`` is the mean (weighted, smoothed) training loss since the evaluation before;
    the others are of the validation split, the loss never weighted. ``seconds`` is the time of
    training and evaluation so far, interruptions left out.
    """

    step: int
    epoch: float
    train_loss: float
    loss: float
    accuracy: float
    balanced_accuracy: float
    is_best: bool
    seconds: float


class Trainer:
    """Trains ``model`` in place; see ``run``.

    An epoch is a permutation of the training titles drawn from (seed, epoch), and dropout is
    drawn from (seed, step), so that a position in the run defines all randomness to come: a
    trainer that loads a state goes on bit for bit as the one that saved it (on a CPU, with the
    same number of threads).
    """

    def __init__(
        self,
        model: TitleClassifier,
        config: TrainingConfig,
        train: Examples,
        validation: Examples,
    ) -> None:
        prepare_process()
        self.model, self.config = model, config
        self.train = train.padded(model.min_length)
        self.validation = validation.padded(model.min_length)
        self.device = train.labels.device
        self.best: Evaluation | None = None
        self.best_state: dict[str, Tensor] = {}
        #: Of the whole run so far, what was before an interruption included.
        self.evaluations: list[Evaluation] = []
        self._batches = math.ceil(len(train) / config.batch_size)
        self._class_weights = class_weights(
            train.labels, model.config.num_classes, power=config.class_weight_power
        )
        self._log_shares = class_log_shares(
            train.labels, model.config.num_classes, tau=config.logit_adjustment
        )
        num_updates = config.num_epochs * self._batches
        self._rates = learning_rates(config.learning_rate, num_updates, decay=config.decay)
        bfloat16 = has_bfloat16(self.device) if config.bfloat16 is None else config.bfloat16
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._weights = DenseWeights(model, dtype=self._dtype, weight_decay=config.weight_decay)
        self._words = WordNumbers(model.config.vocabulary_size)
        self._rows = None
        if not model.config.freeze_embeddings:
            rate = config.embedding_learning_rate or config.learning_rate
            rates = torch.tensor(learning_rates(rate, num_updates, decay=config.decay))
            self._rows = LazyRows(model.embedding, rates, weight_decay=config.weight_decay)

    @property
    def num_steps(self) -> int:
        """Evaluations in the whole run, unless it stops early."""
        return self.config.num_epochs * self.config.evaluations_per_epoch

    @property
    def last(self) -> Evaluation | None:
        """The latest evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def is_done(self) -> bool:
        """Whether ``run`` has nothing more to yield: all steps are done, or patience is over."""
        step = self.last.step if self.last else 0
        patience, best = self.config.patience, self.best
        out_of_patience = patience is not None and best and step - best.step >= patience
        return step >= self.num_steps or bool(out_of_patience)

    def run(self) -> Iterator[Evaluation]:
        """Train to the next evaluation, yield it, and so on to the end or the early stop.

        Raises:
            Diverged: the loss since the last evaluation is NaN or infinite.
        """
        while not self.is_done:
            done = self.last.step if self.last else 0
            started = time.perf_counter()
            train_loss = self._train_segment(done)
            if not math.isfinite(train_loss):
                raise Diverged(f"the training loss became {train_loss} before step {done + 1}")
            if self._rows is not None:
                self._rows.flush()
            metrics = evaluate(self.model, self.validation)
            evaluation = self._evaluation(done + 1, train_loss, metrics, started=started)
            self.evaluations.append(evaluation)
            if evaluation.is_best:
                self.best = evaluation
                self._copy_weights()
            yield evaluation

    def _evaluation(
        self, step: int, train_loss: float, metrics: Metrics, *, started: float
    ) -> Evaluation:
        before = self.last.seconds if self.last else 0.0
        return Evaluation(
            step=step,
            epoch=step / self.config.evaluations_per_epoch,
            train_loss=train_loss,
            loss=metrics.loss,
            accuracy=metrics.accuracy,
            balanced_accuracy=metrics.balanced_accuracy,
            is_best=self.best is None or metrics.balanced_accuracy > self.best.balanced_accuracy,
            seconds=before + time.perf_counter() - started,
        )

    @torch.inference_mode()
    def _train_segment(self, step: int) -> float:
        """Train from evaluation ``step`` to the next; the mean loss of the titles in between."""
        per_epoch = self.config.evaluations_per_epoch
        epoch, part = divmod(step, per_epoch)
        first = math.ceil(part * self._batches / per_epoch)
        last = math.ceil((part + 1) * self._batches / per_epoch)
        if first == last:  # fewer batches than evaluations in an epoch
            return self.last.train_loss if self.last else 0.0
        size = self.config.batch_size
        order = epoch_order(len(self.train), seed=self.config.seed, epoch=epoch)
        order = order[first * size : last * size]
        batches = [
            (indices, int(lengths.sum()))
            for indices, lengths in zip(
                order.to(self.device).split(size),
                self.train.host_lengths[order].split(size),
                strict=True,
            )
        ]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.model.seed_dropout(mixed_seed(self.config.seed, step, stream=2))
        for position, (indices, num_tokens) in enumerate(batches, epoch * self._batches + first):
            self._step(indices, num_tokens, position=position, total=total)
        return float(total) / len(order)

    def _step(self, indices: Tensor, num_tokens: int, *, position: int, total: Tensor) -> None:
        """One update with the titles ``indices``; adds their losses to ``total``."""
        learning_rate = self._rates[position]
        labels = self.train.labels.index_select(0, indices)
        features, rows, to_rows = self._features(indices, num_tokens)
        logits, to_features = self.model.stack.train_forward(
            features, weights=self._weights, frozen_input=to_rows is None
        )
        loss, gradient = cross_entropy(
            logits,
            labels,
            class_weights=self._class_weights,
            label_smoothing=self.config.label_smoothing,
            log_shares=self._log_shares,
        )
        total += loss
        gradient = to_features(gradient.div_(len(indices)))
        if to_rows is not None:
            gradient = to_rows(gradient)
            if rows is not None and self._rows is not None:
                self._rows.write(rows, gradient)
        self._weights.step(learning_rate)

    def _features(
        self, indices: Tensor, num_tokens: int
    ) -> tuple[Tensor, Rows | None, Backward | None]:
        """The features of a batch, the embedding's rows they came from, the backward pass."""
        if self.train.pooled is not None and self.model.takes_pooled:
            pooled = self.train.pooled.index_select(0, indices)
            lengths = self.train.lengths.index_select(0, indices)
            return self.model.train_pooled(pooled, lengths, weights=self._weights), None, None
        batch = self.train.gather(indices, num_tokens=num_tokens)
        rows, values, token_ids, to_rows = self._word_vectors(batch.token_ids)
        features, to_values = self.model.train_features(
            values, token_ids, batch.offsets, weights=self._weights
        )
        return features, rows, lambda gradient: to_rows(to_values(gradient))

    def _word_vectors(self, token_ids: Tensor) -> tuple[Rows | None, Tensor, Tensor, Backward]:
        """The embedding's rows of a batch, its word vectors (U, E), the ids (T,) as positions
        among these, and the backward pass from the vectors to the rows."""
        if self._rows is None:
            words, token_ids = self._words.number(token_ids)
            return None, self.model.rows(words), token_ids, _same
        if self.model.stem_ids is None:
            rows = self._rows.read(token_ids)
            return rows, rows.values, rows.token_ids, _same
        words, token_ids = self._words.number(token_ids)
        rows = self._rows.read(torch.cat([words, self.model.stem_ids.index_select(0, words)]))
        values, to_rows = sums_of_rows(rows.values, *rows.token_ids.split(len(words)))
        return rows, values, token_ids, to_rows

    def _copy_weights(self) -> None:
        """The weights on the CPU, in the memory of the best ones before them."""
        for name, value in self.model.state_dict().items():
            if name in self.best_state:
                self.best_state[name].copy_(value)
            else:
                self.best_state[name] = value.detach().to("cpu", copy=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything to go on from, as tensors and plain values; exact at every yield.

        The tensors are the live ones: save them before the training goes on.
        """
        return {
            "model": self.model.state_dict(),
            "weights": self._weights.state_dict(),
            "rows": self._rows.state_dict() if self._rows else None,
            "evaluations": [dict(vars(evaluation)) for evaluation in self.evaluations],
            "best": dict(vars(self.best)) if self.best else None,
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a ``state_dict()`` of a trainer of the same model, config and examples."""
        self.model.load_state_dict(state["model"])
        self._weights.load_state_dict(state["weights"])
        if self._rows is not None:
            self._rows.load_state_dict(state["rows"])
        self.evaluations = [Evaluation(**evaluation) for evaluation in state["evaluations"]]
        self.best = Evaluation(**state["best"]) if state["best"] else None
        self.best_state = {name: value.clone() for name, value in state["best_state"].items()}


def _same(gradient: Tensor) -> Tensor:
    return gradient


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
