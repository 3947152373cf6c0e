from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data_utils import Cleaning, Vocabulary
from data_utils.stemming import Stemmer
from models import CNNConfig, MLPConfig, build_model
from prediction.predictor import open_predictor
from search.results.model_folder import new_folder, write_model

LABELS = ("LAMPS", "KITCHEN, TABLE", "SHOES")
WORDS = ("lámparas", "silla", "zapato", "congelado", "congelada", "mesa", "taza", "negra")
NETWORKS = {
    "mlp": MLPConfig(0, 12, len(LABELS), hidden_sizes=(16,)),
    "frozen mlp": MLPConfig(
        0, 12, len(LABELS), hidden_sizes=(), freeze_embeddings=True, pooling="sqrtn"
    ),
    "cnn": CNNConfig(0, 12, len(LABELS), num_filters=8, filter_lengths=(1, 2, 3)),
}


@pytest.fixture(autouse=True)
def keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def vocabulary():
    return Vocabulary(WORDS, stemmer=Stemmer("spanish"))


@pytest.fixture(scope="session")
def networks(vocabulary):
    """Name to a network with random weights and word vectors, as training leaves it."""
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 12)).astype(np.float32)
    vectors[0] = 0
    stem_ids = torch.from_numpy(vocabulary.stem_ids).long()
    return {
        name: build_model(
            dataclasses.replace(config, vocabulary_size=len(vocabulary)),
            vectors,
            stem_ids=stem_ids,
            seed=5,
        )
        for name, config in NETWORKS.items()
    }


@pytest.fixture(scope="session")
def write_folder(networks, vocabulary):
    """Write a network as an export does."""

    def write(name, target):
        with new_folder(target) as folder:
            write_model(
                folder,
                networks[name],
                vocabulary=vocabulary,
                labels=LABELS,
                cleaning=Cleaning(),
            )
        return target

    return write


@pytest.fixture(scope="session")
def folder(write_folder, tmp_path_factory):
    """An exported CNN, only read."""
    return write_folder("cnn", tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def predictor(folder):
    return open_predictor(folder)
