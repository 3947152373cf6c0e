"""What a study trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data_utils import DataError, DataSpec
from search.display.progress import Progress
from search.errors import SearchError
from search.inputs import TrainingData, load_inputs, pick_device


class Heard(Progress):
    """Keeps what is told while preparing."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def preparing(self, text, fraction=None):
        self.texts.append(text)


@pytest.fixture
def data(inputs, data_cache):
    return TrainingData(inputs, cache_folder=data_cache, device=torch.device("cpu"))


def test_loading_again_opens_what_was_prepared(inputs, titles_csv, vectors_file, data_cache):
    heard = Heard()
    again = load_inputs(
        DataSpec(source=str(titles_csv)),
        vectors_file,
        None,
        cache_folder=data_cache,
        progress=heard,
    )
    assert heard.texts == []
    assert again.prepared.fingerprint == inputs.prepared.fingerprint
    assert again.vectors.fingerprint == inputs.vectors.fingerprint
    assert np.array_equal(again.vectors.matrix, inputs.vectors.matrix)


def test_preparing_is_told_to_the_display(titles_csv, vectors_file, tmp_path):
    heard = Heard()
    load_inputs(
        DataSpec(source=str(titles_csv)), vectors_file, 8, cache_folder=tmp_path, progress=heard
    )
    assert heard.texts


def test_a_width_that_is_not_the_files_is_refused(titles_csv, vectors_file, data_cache):
    with pytest.raises(DataError, match="8"):
        load_inputs(
            DataSpec(source=str(titles_csv)),
            vectors_file,
            9,
            cache_folder=data_cache,
            progress=Progress(),
        )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_examples_are_the_prepared_titles(data, inputs, split):
    examples, titles = getattr(data, split), getattr(inputs.prepared, split)
    assert examples.token_ids.tolist() == titles.token_ids.tolist()
    assert examples.offsets.tolist() == titles.offsets.tolist()
    assert examples.labels.tolist() == titles.labels.tolist()
    assert examples.labels.dtype == torch.int64
    assert examples.pooled is None


@pytest.mark.parametrize("split", ["train", "validation"])
def test_pooled_examples_hold_the_mean_vector_of_each_title(data, split):
    examples = getattr(data, f"pooled_{split}")
    for title in range(0, len(examples), 29):
        ids = examples.token_ids[examples.offsets[title] : examples.offsets[title + 1]].long()
        torch.testing.assert_close(examples.pooled[title], data.matrix[ids].mean(0))


def test_the_test_titles_are_not_among_the_training_data(data, inputs):
    def texts(titles):
        return {titles.text(index) for index in range(len(titles))}

    prepared = inputs.prepared
    assert len(prepared.test) > 0
    assert not texts(prepared.test) & (texts(prepared.train) | texts(prepared.validation))
    assert len(data.train) + len(data.validation) + len(prepared.test) == 600
    assert not hasattr(data, "test")


def test_stems_are_those_of_the_vocabulary(data, inputs):
    assert data.stem_ids.tolist() == inputs.prepared.vocabulary.stem_ids.tolist()
    assert data.stem_ids.dtype == torch.int64 and data.stem_ids.any()


def test_without_a_stemmer_there_are_no_stems(titles_csv, vectors_file, data_cache):
    inputs = load_inputs(
        DataSpec(source=str(titles_csv), stemmer="none"),
        vectors_file,
        None,
        cache_folder=data_cache,
        progress=Progress(),
    )
    data = TrainingData(inputs, cache_folder=data_cache, device=torch.device("cpu"))
    assert data.stem_ids is None


def test_nothing_is_pooled_before_it_is_asked_for(inputs, tmp_path):
    data = TrainingData(inputs, cache_folder=tmp_path, device=torch.device("cpu"))
    num_titles = len(data.train)
    assert not (tmp_path / "pooled").exists()
    assert data.pooled_train.pooled.shape == (num_titles, 8)
    assert (tmp_path / "pooled").exists()


def is_mapped_from(folder, tensor):
    """Whether its memory is that of a file below the folder."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return str(folder.resolve()) in line
    return False


@pytest.mark.parametrize("min_length", [0, 3, 9])
def test_workers_of_a_machine_share_all_that_they_train_on(data, data_cache, min_length):
    for split in ("train", "validation"):
        pooled = getattr(data, f"pooled_{split}").pooled
        examples = data.padded(split, min_length)
        assert examples.padded(min_length) is examples  # a trainer copies nothing
        for tensor in (examples.token_ids, examples.offsets, examples.labels, pooled):
            assert is_mapped_from(data_cache, tensor)
    assert is_mapped_from(data_cache, data.matrix)


def test_a_trainer_sees_titles_as_long_as_its_longest_filter(data):
    expected = data.train.padded(9)
    found = data.padded("train", 9)
    assert torch.equal(found.token_ids, expected.token_ids)
    assert torch.equal(found.offsets, expected.offsets)
    assert torch.equal(found.labels, expected.labels)


def test_the_processor_is_a_device():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_is_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected


@pytest.mark.parametrize("name", ["tpu", "gpu", "", "cuda:x", "mps", "meta", "cpu0"])
def test_an_unknown_device_is_refused_with_the_known_ones(name):
    with pytest.raises(SearchError, match="auto, cpu, cuda or cuda:N"):
        pick_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_their_number():
    count = torch.cuda.device_count()
    with pytest.raises(SearchError, match=f"'cuda:{count}' is not there: .* sees {count} GPUs"):
        pick_device(f"cuda:{count}")
