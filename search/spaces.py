"""The search spaces: the only file with ranges.

A space is a function that asks a trial for its hyperparameters ("define by run"). A finished trial
answers the same questions with the values it stored, so one function both samples a configuration
and rebuilds it: ``suggest_mlp(study.best_trial, task)``.

Parameter names and the choices of categorical parameters are kept in users' databases. Changing
one makes stored studies unusable: a changed space needs a new number in ``SPACE_VERSIONS``, and
still has to read the trials of those before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import BaseTrial

if TYPE_CHECKING:  # torch: not for those who only read what a study has stored
    from models import CNNConfig, MLPConfig
    from models.training import TrainingConfig

#: Of each model. 2 of the MLP brought ``pooling``; before, it was the mean.
SPACE_VERSIONS = {"mlp": 2, "cnn": 1}

#: Parameters that the trials of earlier versions had without saying so: (model, version) -> value.
UNSAID: dict[tuple[str, int], dict[str, Any]] = {("mlp", 1): {"pooling": "mean"}}

#: User attribute of trials whose learning rate stays as it is, as the students' did, where that
#: of others falls to 0. No parameter: it isn't searched, and stored studies have trials without.
CONSTANT_RATE_ATTR = "constant_learning_rate"

EVALUATIONS_PER_EPOCH = 4
DEFAULT_EPOCHS = {"mlp": 5, "cnn": 5}
DEFAULT_DIM = 300
BATCH_SIZES = (128, 256, 512)
POOLINGS = ("mean", "sqrtn")
# Categories of an Optuna parameter have to be strings or numbers: a set of lengths is spelled.
FILTER_LENGTHS = ("1,2", "1,2,3", "2,3,4", "3,4,5", "4,6,7")


@dataclass(frozen=True)
class Task:
    """What a configuration takes from the data and the study rather than from the trial.

    Attributes:
        vocabulary_size: Rows of the embedding, ``V``.
        embedding_dim: Width of the word vectors, ``E``.
        num_classes: Categories, ``K``.
        max_epochs: Epochs of an MLP trial, and the upper end of the CNN's range of epochs.
        seed: Seed of the initial weights, of the order of the titles and of dropout. All trials
            of a study share it, so that configurations are compared on common random numbers.
        space: Version of the search space that its trials have; None for today's.
    """

    vocabulary_size: int
    embedding_dim: int
    num_classes: int
    max_epochs: int
    seed: int = 0
    space: int | None = None

    @property
    def max_steps(self) -> int:
        """The last step that a trial can report."""
        return self.max_epochs * EVALUATIONS_PER_EPOCH


@dataclass(frozen=True)
class TrialConfig:
    """The network of a trial and how it is trained."""

    model: MLPConfig | CNNConfig
    training: TrainingConfig


def suggest_mlp(trial: BaseTrial, task: Task) -> TrialConfig:
    """Sample an MLP: the title's word vectors pooled into one, then a stack of hidden layers."""
    from models import MLPConfig

    num_layers = trial.suggest_int("num_layers", 0, 4)
    model = MLPConfig(
        vocabulary_size=task.vocabulary_size,
        embedding_dim=task.embedding_dim,
        num_classes=task.num_classes,
        hidden_sizes=tuple(
            trial.suggest_int(f"hidden_size_{layer}", 64, 1024, log=True)
            for layer in range(1, num_layers + 1)
        ),
        dropout=trial.suggest_float("dropout", 0.0, 0.7),
        freeze_embeddings=trial.suggest_categorical("freeze_embeddings", (True, False)),
        pooling=UNSAID["mlp", 1]["pooling"]
        if task.space == 1
        else trial.suggest_categorical("pooling", POOLINGS),
    )
    return TrialConfig(model, _suggest_training(trial, task, num_epochs=task.max_epochs))


def suggest_cnn(trial: BaseTrial, task: Task) -> TrialConfig:
    """Sample a CNN: filters of several lengths over the title, their maxima, hidden layers."""
    from models import CNNConfig

    num_layers = trial.suggest_int("num_layers", 0, 4)
    model = CNNConfig(
        vocabulary_size=task.vocabulary_size,
        embedding_dim=task.embedding_dim,
        num_classes=task.num_classes,
        num_filters=trial.suggest_int("num_filters", 50, 300, log=True),
        filter_lengths=tuple(
            int(length)
            for length in trial.suggest_categorical("filter_lengths", FILTER_LENGTHS).split(",")
        ),
        hidden_sizes=tuple(
            trial.suggest_int(f"hidden_size_{layer}", 64, 1024, log=True)
            for layer in range(1, num_layers + 1)
        ),
        dropout=trial.suggest_float("dropout", 0.0, 0.7),
        freeze_embeddings=trial.suggest_categorical("freeze_embeddings", (True, False)),
    )
    num_epochs = trial.suggest_int("num_epochs", min(2, task.max_epochs), task.max_epochs)
    return TrialConfig(model, _suggest_training(trial, task, num_epochs=num_epochs))


def _suggest_training(trial: BaseTrial, task: Task, *, num_epochs: int) -> TrainingConfig:
    from models.training import TrainingConfig

    return TrainingConfig(
        num_epochs=num_epochs,
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 2e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 5e-1, log=True),
        # Two ways of caring for rare categories, as balanced accuracy does. The weight of a
        # category's titles in the loss, n ** -power: 0 counts titles, 1 categories.
        class_weight_power=trial.suggest_float("class_weight_power", 0.0, 1.0),
        # The handicap in the loss of a category for its size: 0 none, 1 what theory asks for.
        logit_adjustment=trial.suggest_float("logit_adjustment", 0.0, 1.5),
        decay=not trial.user_attrs.get(CONSTANT_RATE_ATTR, False),
        evaluations_per_epoch=EVALUATIONS_PER_EPOCH,
        seed=task.seed,
    )


SEARCH_SPACES: dict[str, Callable[[BaseTrial, Task], TrialConfig]] = {
    "mlp": suggest_mlp,
    "cnn": suggest_cnn,
}


def hidden_layers(*widths: int) -> dict[str, Any]:
    """The parameters of a stack of hidden layers."""
    sizes = {f"hidden_size_{layer}": width for layer, width in enumerate(widths, start=1)}
    return {"num_layers": len(widths), **sizes}


def student_mlp(dropout: float, batch_size: int, *, freeze_embeddings: bool) -> dict[str, Any]:
    """An MLP as the students trained it."""
    return {
        **hidden_layers(512, 256, 256, 128),
        "dropout": dropout,
        "freeze_embeddings": freeze_embeddings,
        "pooling": "mean",
        "batch_size": batch_size,
        **_STUDENT_TRAINING,
    }


def student_cnn(num_filters: int, filter_lengths: str, *, num_epochs: int) -> dict[str, Any]:
    """A CNN as the students trained it."""
    return {
        **hidden_layers(512, 512, 256, 128),
        "num_filters": num_filters,
        "filter_lengths": filter_lengths,
        "dropout": 0.3,
        "freeze_embeddings": True,
        "num_epochs": num_epochs,
        "batch_size": 128,
        **_STUDENT_TRAINING,
    }


# They trained with Adam at its default learning rate and 1e-5 of L2, and did nothing for rare
# categories. See CONSTANT_RATE_ATTR, too.
_STUDENT_TRAINING = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-6,
    "class_weight_power": 0.0,
    "logit_adjustment": 0.0,
}


def _mlp_baselines(max_epochs: int) -> dict[str, dict[str, Any]]:
    return {
        f"dropout 0.3 batch {batch} {'frozen' if freeze else 'unfrozen'}": student_mlp(
            0.3, batch, freeze_embeddings=freeze
        )
        for batch in (128, 256)
        for freeze in (False, True)
    }


def _cnn_baselines(max_epochs: int) -> dict[str, dict[str, Any]]:
    return {
        f"{filters} x [{lengths}]": student_cnn(filters, lengths, num_epochs=min(5, max_epochs))
        for filters, lengths in ((100, "2,3,4"), (200, "4,6,7"))
    }


_GOOD_TRAINING = {
    "dropout": 0.3,
    "freeze_embeddings": False,
    "class_weight_power": 0.0,
    "logit_adjustment": 1.0,
}


def _mlp_starts(max_epochs: int) -> list[dict[str, Any]]:
    # One for few titles of a category, one for many.
    mlp = {"num_layers": 0, **_GOOD_TRAINING, "pooling": "sqrtn", "batch_size": 128}
    return [
        {**mlp, "learning_rate": 0.007, "weight_decay": 0.3},
        {**mlp, "learning_rate": 0.0025, "weight_decay": 0.5},
    ]


def _cnn_starts(max_epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "num_layers": 0,
            "num_filters": 100,
            "filter_lengths": "1,2,3",
            **_GOOD_TRAINING,
            "weight_decay": 0.2,
            "num_epochs": min(4, max_epochs),
            "batch_size": 128,
            "learning_rate": 0.004,
        }
    ]


_GRID: dict[str, list[Any]] = {
    "num_layers": [0],
    "freeze_embeddings": [False],
    "batch_size": [128],
    "weight_decay": [0.05],
    "class_weight_power": [0.0],
    "logit_adjustment": [1.0],
}


def _mlp_grid(max_epochs: int) -> dict[str, list[Any]]:
    return _GRID | {
        "dropout": [0.3, 0.7],
        "freeze_embeddings": [False, True],
        "pooling": ["sqrtn"],
        "batch_size": [128, 256],
        "learning_rate": [0.001, 0.006],
        "logit_adjustment": [0.0, 1.0],
    }


def _cnn_grid(max_epochs: int) -> dict[str, list[Any]]:
    return _GRID | {
        "dropout": [0.3, 0.5],
        "learning_rate": [0.001, 0.004],
        "num_filters": [100, 200],
        "filter_lengths": ["1,2,3", "2,3,4", "4,6,7"],
        "num_epochs": sorted({min(3, max_epochs), min(5, max_epochs)}),
    }


@dataclass(frozen=True)
class Named:
    """The configurations of a model that have a name; each function takes the most epochs."""

    baselines: Callable[[int], dict[str, dict[str, Any]]]
    good_starts: Callable[[int], list[dict[str, Any]]]
    grid: Callable[[int], dict[str, list[Any]]]


NAMED: dict[str, Named] = {
    "mlp": Named(_mlp_baselines, _mlp_starts, _mlp_grid),
    "cnn": Named(_cnn_baselines, _cnn_starts, _cnn_grid),
}


def baselines(model: str, max_epochs: int) -> dict[str, dict[str, Any]]:
    """The students' configurations, by name: early trials of a study, and never pruned."""
    return NAMED[model].baselines(max_epochs)


def good_starts(model: str, max_epochs: int) -> list[dict[str, Any]]:
    """Configurations that did well on the data sets we have: the first trials of a search.

    A small portfolio (Feurer et al. 2022, arXiv:2007.04074): what one does not suit, another may.
    No pruner stops them, as the one that suits may start slowly.
    """
    return NAMED[model].good_starts(max_epochs)


def grid(model: str, max_epochs: int) -> dict[str, list[Any]]:
    """What ``--sampler grid`` tries: values of every parameter that the space asks for."""
    return NAMED[model].grid(max_epochs)
