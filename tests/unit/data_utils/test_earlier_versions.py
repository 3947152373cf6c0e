"""Data that studies of the first version of this program stand on: the figures are its own."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from data_utils import Cleaning, DataSpec, prepare
from data_utils.prepared import _FORMAT_BEFORE
from data_utils.prepared import _fingerprint as fingerprint_of
from data_utils.sources import open_source
from data_utils.splits import split_rows

WORDS = "silla mesa cama foco lampara taza plato olla".split()
BODY = "".join(
    f"{WORDS[i % 8]} {WORDS[(3 * i + 1) % 8]} modelo{'abcdefghij'[i % 10]}"
    f"{'klmnopqrst'[i // 10 % 10]},C{i % 3}\n"
    for i in range(60)
)
HEADER = "title,category\n"
PLAIN = "115dc4340371a809f812f44d3b8c897772e5d93ecf208a03204f5e252bad05ca"
OF_THAT_TIME = Cleaning(version=1)


@pytest.fixture
def write(tmp_path):
    def write(text, name="plain.csv"):
        (tmp_path / name).write_text(text, newline="")
        return str(tmp_path / name)

    return write


def _fingerprint(path, cache, **options):
    return prepare(DataSpec(source=path, cleaning=OF_THAT_TIME, **options), cache).fingerprint


@pytest.mark.parametrize(
    ("text", "options", "fingerprint"),
    [
        (HEADER + BODY, {}, PLAIN),
        (
            HEADER + BODY,
            {"sample": 30},
            "e72ab6683dfc508c4cb2930832467b27f8bb2408ca88cce1b35de82530e56478",
        ),
        (
            f'{HEADER}"silla, grande\ny roja",C0\n"mesa ""x""",C1\n{BODY}',
            {},
            "23e145900f159e447d838521d62443f489b421c302776d31a56d60aff7fe5eb6",
        ),
    ],
    ids=["plain", "sample", "quoted"],
)
def test_rows_that_are_read_as_then_have_the_fingerprint_of_then(
    write, cache, text, options, fingerprint
):
    name = "quoted.csv" if '"' in text else "plain.csv"
    assert _fingerprint(write(text, name), cache, **options) == fingerprint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("headers.csv", HEADER + BODY + HEADER + BODY + HEADER),
        ("stray.csv", HEADER + BODY.replace("\nmesa", '\n"mesa', 1)),
        ("return.csv", HEADER.replace("\n", "\r") + BODY),
        ("near.csv", HEADER + BODY + "".join(f"tuerca acero {i} mm,T\n" for i in range(20))),
        (
            "float.jsonl",
            "".join(
                json.dumps({"title": t, "category": 1.0 if c == "C1" else c}) + "\n"
                for t, c in (line.split(",") for line in BODY.splitlines())
            ),
        ),
    ],
)
def test_rows_that_are_read_otherwise_have_another(write, cache, name, text):
    path = write(text, name)
    assert _fingerprint(path, cache) != _fingerprint_of_then(path)


def _fingerprint_of_then(path, **options):
    spec = DataSpec(source=path, cleaning=OF_THAT_TIME, **options)
    return fingerprint_of(open_source(spec), spec, _FORMAT_BEFORE)


def test_equal_rows_of_a_sample_are_drawn_one_by_one(write, cache):
    rows = BODY + "silla igual,C0\n" * 60
    path = write(HEADER + rows)
    prepared = prepare(DataSpec(source=path, sample=60), cache)
    texts = [
        titles.text(index)
        for titles in (prepared.train, prepared.validation, prepared.test)
        for index in range(len(titles))
    ]
    assert 15 < texts.count("silla igual") < 45
    assert _fingerprint(path, cache, sample=60) != _fingerprint_of_then(path, sample=60)


def test_a_folder_prepared_then_is_opened_as_it_stands(write, cache):
    path = write(HEADER + BODY)
    spec = DataSpec(source=path, cleaning=OF_THAT_TIME)
    built = prepare(spec, cache)
    then = cache / "data" / f"plain-{PLAIN[:16]}"  # where it was looked for
    shutil.move(built.folder, then)
    again = prepare(spec, cache)
    assert (again.folder, again.fingerprint) == (then, PLAIN)
    assert [path.name for path in (cache / "data").iterdir()] == [then.name]
    assert prepare(DataSpec(source=path), cache).folder != then  # not for a new study
    (then / "train.labels.npy").write_bytes(b"")
    rebuilt = prepare(spec, cache)
    assert rebuilt.folder != then and rebuilt.fingerprint == PLAIN


@pytest.mark.parametrize(
    ("level", "fingerprint", "digest"),
    [
        (
            "segment",
            "93d3f285e7f28acdbdfc0f39e3df7cd5cf62596bc7dfb7d534ff50b8f8c2e944",
            "1a8d78751c199199dfff83551999dae661274ef3117b20a82cba5a213da1959d",
        ),
        (
            "family",
            "6945a649e968144be5e2005450be35f954073ddabf4dd9cc87583333dd6054af",
            "5a9edb371dbaea0df55ae06630136ef19782eeca7da10337dbf22bb1f8ff8cef",
        ),
    ],
)
def test_the_built_in_data_are_split_as_then(cache, level, fingerprint, digest):
    prepared = prepare(DataSpec(level=level, cleaning=OF_THAT_TIME), cache)
    found = hashlib.sha256()
    for titles in (prepared.train, prepared.validation, prepared.test):
        for array in (titles.token_ids, titles.offsets, titles.labels, titles.text_bytes):
            found.update(np.ascontiguousarray(array).tobytes())
    assert (prepared.fingerprint, found.hexdigest()) == (fingerprint, digest)


def test_random_tables_are_split_as_then():
    found = hashlib.sha256()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        labels = np.sort(rng.integers(0, 12, 400))
        groups = rng.integers(0, int(rng.integers(30, 400)), 400).astype(np.uint64)
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int32)
        parts = split_rows(labels, groups, num_classes=int(labels.max()) + 1, seed=seed)
        found.update(parts.tobytes())
    expected = "bb7dfa9ee665348ae8a1e5cb90f9f6f5823bf3192f0161ddb936985d0837269d"
    assert found.hexdigest() == expected
