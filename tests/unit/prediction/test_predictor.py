from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file, save_file

import prediction.encoder
import prediction.predictor
from data_utils import Cleaning, DataError, encode_titles
from prediction.checksums import CHECKSUMS, write_checksums
from prediction.predictor import open_predictor
from prediction.stream import CHUNK_TITLES, predict_stream

ROOT = Path(__file__).resolve().parents[3]
TITLES = (
    "Silla negra",
    "Congelados, CONGELADAS y congelación",
    "lámpara 💡 <b>mesa</b>",
    "",
    "zap\0ato",
    "taza\nde\r\nmesa",
    "nada de esto se conoce",
    "mesa " * 2000,
    "y" * 10_000,
)


@pytest.mark.parametrize("name", ["mlp", "frozen mlp", "cnn"])
def test_a_folder_scores_as_the_network_it_was_written_from(
    name, networks, write_folder, vocabulary, tmp_path
):
    predictor = open_predictor(write_folder(name, tmp_path / "model"))
    token_ids, offsets = encode_titles(TITLES, vocabulary, Cleaning())
    with torch.inference_mode():
        expected = networks[name](torch.from_numpy(token_ids), torch.from_numpy(offsets))
    found = torch.cat(list(predictor.logits(*predictor.encode(TITLES))))
    assert torch.equal(found, expected)


def test_titles_are_encoded_as_in_preparation_also_after_words_were_forgotten(
    predictor, vocabulary, monkeypatch
):
    monkeypatch.setattr(prediction.encoder, "_MAX_REMEMBERED_TOKENS", 3)
    for title in (*TITLES, *TITLES):
        token_ids, offsets = encode_titles([title], vocabulary, Cleaning())
        found_ids, found_offsets = predictor.encode([title])
        assert found_ids.tolist() == token_ids.tolist()
        assert found_offsets.tolist() == offsets.tolist()


def test_a_word_that_is_not_known_counts_as_its_stem(predictor, vocabulary):
    assert "congelados" not in vocabulary.words
    token_ids, _ = predictor.encode(["congelados"])
    assert vocabulary.tokens[token_ids[0]] == "<stem> congel"


def test_every_odd_title_gets_a_category_and_a_probability(predictor):
    found = predictor.predict(TITLES)
    assert len(found) == len(TITLES)
    for [(category, probability)] in found:
        assert category in predictor.labels
        assert 1 / 3 <= probability <= 1


def test_all_categories_together_have_probability_one(predictor):
    for best in predictor.predict(TITLES, top=99):
        assert len(best) == 3
        values = [probability for _, probability in best]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-6)


def invented_titles(count, rng):
    """Of words that are new to every encoder, with known ones among them."""
    return [
        " ".join(["silla", *("".join(rng.choices("bcdfgaeiou", k=8)) for _ in range(5))])
        for _ in range(count)
    ]


def test_sixteen_threads_are_answered_as_one(folder, predictor, monkeypatch):
    monkeypatch.setattr(prediction.encoder, "_MAX_REMEMBERED_TOKENS", 2000)
    rng = random.Random(0)
    requests = [invented_titles(10, rng) for _ in range(100)]
    expected = list(map(open_predictor(folder).predict, requests))
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(predictor.predict, requests))
    assert found == expected
    assert list(map(predictor.predict, requests)) == expected  # nothing is left damaged


@pytest.mark.parametrize("title", [None, float("nan"), pandas.NA, pandas.NaT, 5, 1.5, b"silla"])
def test_what_is_no_text_counts_as_an_empty_title(predictor, title):
    assert predictor.predict(["silla", title, "mesa"]) == predictor.predict(["silla", "", "mesa"])


def test_a_title_scores_in_any_batch_as_alone(predictor, monkeypatch):
    together = predictor.predict(TITLES, top=3)
    monkeypatch.setattr(prediction.predictor, "BATCH_TOKENS", 2)
    for title, best in zip(TITLES, together, strict=True):
        [alone] = predictor.predict([title], top=3)
        assert [name for name, _ in alone] == [name for name, _ in best]
        assert np.allclose([p for _, p in alone], [p for _, p in best], atol=1e-6)


def test_a_stream_is_predicted_in_its_order(predictor):
    titles = [TITLES[n % 3] for n in range(2 * CHUNK_TITLES + 7)]
    chunks = list(predict_stream(predictor, iter(titles)))
    assert [title for chunk, _ in chunks for title in chunk] == titles
    best = [scored.categories[:, 0] for _, scored in chunks]
    expected = [predictor.labels.index(name) for [(name, _)] in predictor.predict(TITLES[:3])]
    assert np.concatenate(best).tolist() == [expected[n % 3] for n in range(len(titles))]


def test_a_stream_without_end_is_read_little_ahead_of_what_was_predicted(predictor):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield "silla"

    stream = predict_stream(predictor, endless())
    for _ in range(20):
        next(stream)
    cores = 1 + torch.multiprocessing.cpu_count()
    assert read <= (20 + cores) * CHUNK_TITLES
    stream.close()


@pytest.fixture
def copied(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["labels.json", "weights.safetensors", "models/cnn.py"])
def test_a_changed_file_is_named(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(bytes(data))
    with pytest.raises(DataError, match=f"{name} does not match its checksum.*export it again"):
        open_predictor(copied)


def test_a_missing_file_is_named(copied):
    (copied / "vocabulary.txt").unlink()
    with pytest.raises(DataError, match="vocabulary.txt is missing"):
        open_predictor(copied)


def test_missing_checksums_are_damage(copied):
    (copied / CHECKSUMS).unlink()
    with pytest.raises(DataError, match=f"{CHECKSUMS} is missing"):
        open_predictor(copied)


def test_a_list_of_checksums_that_leaves_a_file_out_is_damage(copied):
    lines = (copied / CHECKSUMS).read_text().splitlines(keepends=True)
    (copied / CHECKSUMS).write_text("".join(line for line in lines if "weights" not in line))
    with pytest.raises(DataError, match="does not list weights.safetensors"):
        open_predictor(copied)


def test_a_folder_of_a_later_version_is_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"format": 2}))
    (copied / CHECKSUMS).unlink()
    write_checksums(copied)
    with pytest.raises(DataError, match="its format is 2, not 1.*its own predict.py"):
        open_predictor(copied)


def change_network(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"network": config["network"] | changes})
    )
    (folder / CHECKSUMS).unlink()
    write_checksums(folder)


def change_weights(folder, change):
    weights = load_file(folder / "weights.safetensors")
    save_file({name: change(w) for name, w in weights.items()}, folder / "weights.safetensors")
    (folder / CHECKSUMS).unlink()
    write_checksums(folder)


def test_dropout_of_everything_is_no_matter_in_a_prediction(copied, predictor):
    change_network(copied, dropout=1.0)
    assert open_predictor(copied).predict(TITLES) == predictor.predict(TITLES)


def test_weights_of_half_the_precision_are_served(copied, predictor):
    change_weights(copied, torch.Tensor.half)
    found = [best[0] for best in open_predictor(copied).predict(TITLES)]
    expected = [best[0] for best in predictor.predict(TITLES)]
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert np.allclose([p for _, p in found], [p for _, p in expected], atol=1e-2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(copied, value):
    def spoil(weight):
        weight.view(-1)[-1] = value
        return weight

    change_weights(copied, spoil)
    with pytest.raises(DataError, match="among its weights holds NaN or infinity") as caught:
        open_predictor(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_filters": -1},
        {"filter_lengths": []},
        {"filter_lengths": "abc"},
        {"filter_lengths": [-1]},
        {"hidden_sizes": [1.5]},
        {"hidden_sizes": None},
        {"embedding_dim": -1},
    ],
)
def test_settings_that_no_network_has_are_refused_in_one_line(copied, changes):
    change_network(copied, **changes)
    with pytest.raises(DataError, match="is no model that this version can read") as caught:
        open_predictor(copied)
    assert "\n" not in str(caught.value)


def test_an_unknown_pooling_is_refused(write_folder, tmp_path):
    folder = write_folder("mlp", tmp_path / "model")
    change_network(folder, pooling="max")
    with pytest.raises(DataError, match="the pooling is 'max', not one of"):
        open_predictor(folder)


def test_cleaning_that_fails_at_a_title_is_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    config["cleaning"]["min_letters"] = "three"
    (copied / "config.json").write_text(json.dumps(config))
    change_network(copied)
    with pytest.raises(DataError, match="is no model that this version can read"):
        open_predictor(copied)


def test_vocabulary_and_weights_of_different_models_are_refused(copied):
    with (copied / "vocabulary.txt").open("a") as file:
        file.write("alfombra alfombr\n")
    (copied / CHECKSUMS).unlink()
    write_checksums(copied)
    with pytest.raises(DataError, match="not those of the network"):
        open_predictor(copied)


def test_sha256sum_reads_the_list(folder):
    done = subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=folder)
    assert done.returncode == 0


def test_nothing_is_unpickled(folder):
    program = (
        "import sys\n"
        "from prediction.predictor import open_predictor\n"
        "from pathlib import Path\n"
        "def refuse(event, _):\n"
        "    assert not event.startswith('pickle'), event\n"
        "sys.addaudithook(refuse)\n"
        "print(open_predictor(Path(sys.argv[1])).predict(['silla']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
