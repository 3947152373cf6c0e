import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from data_utils import Cleaning, DataError, DataSpec, open_prepared, prepare
from data_utils.cleaning import clean
from data_utils.sources import open_source
from data_utils.stop_words import stop_words

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
ARRAYS = ("token_ids", "offsets", "labels", "text_bytes", "text_offsets")


def _splits(prepared):
    return {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}


def _rows(prepared, name):
    """(title, label, tokens) of each row of a split, back from the arrays."""
    titles = _splits(prepared)[name]
    tokens = prepared.vocabulary.tokens
    for i in range(len(titles)):
        ids = titles.token_ids[titles.offsets[i] : titles.offsets[i + 1]]
        yield titles.text(i), prepared.labels[titles.labels[i]], [tokens[k] for k in ids]


def _same(one, other):
    assert (one.labels, one.vocabulary.tokens) == (other.labels, other.vocabulary.tokens)
    for name, titles in _splits(one).items():
        for array in ARRAYS:
            found = getattr(_splits(other)[name], array)
            assert np.array_equal(getattr(titles, array), found), (name, array)


def test_the_arrays_hold_every_row_once_in_the_order_of_the_source(write_csv, rows, cache):
    rows[0][0], rows[1][0] = "12 34 --", 'quoted "x"\nand broken 🎉'
    prepared = prepare(DataSpec(source=str(write_csv(rows))), cache)
    found = {name: list(_rows(prepared, name)) for name in _splits(prepared)}
    place = {row[0]: (i, row[3]) for i, row in enumerate(rows)}
    for split in found.values():
        assert [place[title][0] for title, _, _ in split] == sorted(
            place[title][0] for title, _, _ in split
        )
        assert all(place[title][1] == label for title, label, _ in split)
    assert sorted(title for split in found.values() for title, _, _ in split) == sorted(place)


def test_tokens_outside_train_are_unknown_and_ordered_by_count_in_train(write_csv, rows, cache):
    prepared = prepare(DataSpec(source=str(write_csv(rows))), cache)
    counts = Counter(
        token for title, _, _ in _rows(prepared, "train") for token in clean(title, Cleaning())
    )
    ordered = sorted(counts, key=lambda token: (-counts[token], token))
    assert prepared.vocabulary.words == tuple(ordered)
    for name in _splits(prepared):
        for title, _, tokens in _rows(prepared, name):
            expected = [t if t in counts else "<unk>" for t in clean(title, Cleaning())]
            assert tokens == expected


def test_preparing_in_processes_gives_the_same_arrays(write_csv, rows, cache, monkeypatch):
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 500)
    rows[3][0], rows[150] = "", ["a"]
    path = str(write_csv(rows))
    alone = prepare(DataSpec(source=path, sample=150), cache / "1", processes=1)
    together = prepare(DataSpec(source=path, sample=150), cache / "2", processes=2)
    _same(alone, together)
    assert alone.summary == together.summary


def test_titles_with_the_same_words_are_on_one_side_of_the_split(write_csv, rows, cache):
    twins = [[" ".join(reversed(row[0].split())).upper() + " 77!", *row[1:]] for row in rows]
    prepared = prepare(DataSpec(source=str(write_csv(rows + twins))), cache)
    sides = [
        {frozenset(clean(title, Cleaning())) for title, _, _ in _rows(prepared, name)}
        for name in _splits(prepared)
    ]
    assert not (sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])
    assert prepared.summary["near_duplicate_rows"] == 400


def test_titles_without_tokens_are_kept_and_grouped_by_their_text(write_csv, rows, cache):
    empty = [["1 2 3", "", "", "CLASS_0"]] * 20 + [[str(i), "", "", "CLASS_1"] for i in range(20)]
    prepared = prepare(DataSpec(source=str(write_csv(rows + empty))), cache)
    assert prepared.summary["titles_without_tokens"] == 40
    sides = [
        name for name in _splits(prepared) for row in _rows(prepared, name) if row[0] == "1 2 3"
    ]
    assert len(sides) == 20 and len(set(sides)) == 1


def test_a_second_call_opens_what_the_first_prepared(write_csv, rows, cache):
    spec = DataSpec(source=str(write_csv(rows)))
    first = prepare(spec, cache)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    _same(first, prepare(spec, cache))
    _same(first, open_prepared(first.folder))
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [{"sample": 100}, {"min_rows": 2}, {"max_vocabulary": 9}, {"min_count": 2}, {"split_seed": 1},
     {"language": "spanish"}, {"cleaning": Cleaning(lower=False)}, {"label_column": "language"}],
)  # fmt: skip
def test_another_setting_gives_other_data(write_csv, rows, cache, change):
    path = str(write_csv(rows))
    one, other = (
        prepare(DataSpec(source=path), cache),
        prepare(DataSpec(source=path, **change), cache),
    )
    assert one.fingerprint != other.fingerprint and one.folder != other.folder


def test_the_same_bytes_under_another_folder_have_the_same_fingerprint(
    write_csv, rows, cache, tmp_path
):
    (tmp_path / "elsewhere").mkdir()
    one = prepare(DataSpec(source=str(write_csv(rows))), cache)
    other = prepare(DataSpec(source=str(write_csv(rows, "elsewhere/titles.csv"))), cache)
    assert one.fingerprint == other.fingerprint


def test_changed_bytes_under_the_same_name_are_prepared_anew(write_csv, rows, cache):
    one = prepare(DataSpec(source=str(write_csv(rows))), cache)
    rows[0][0] = "otra cosa"
    assert prepare(DataSpec(source=str(write_csv(rows))), cache).fingerprint != one.fingerprint


def test_a_sample_is_fixed_spread_and_independent_of_the_order(write_csv, rows, cache):
    spec = DataSpec(source=str(write_csv(rows)), sample=100)
    one = prepare(spec, cache)
    other = prepare(DataSpec(source=str(write_csv(rows[::-1], "r.csv")), sample=100), cache)

    def titles(prepared):
        return sorted(row[0] for name in _splits(prepared) for row in _rows(prepared, name))

    assert titles(one) == titles(other) and len(titles(one)) == 100
    assert 20 < sum(row[0] in titles(one) for row in rows[:100]) < 80
    assert one.summary["rows_left_out_by_sample"] == 100


def test_a_sample_larger_than_the_source_is_all_of_it(write_csv, rows, cache):
    assert (
        prepare(DataSpec(source=str(write_csv(rows)), sample=999), cache).summary["rows_used"]
        == 200
    )


def test_small_categories_are_left_out_and_counted(write_csv, rows, cache):
    small = [[f"gato {w}", "", "", "RARE"] for w in ("azul", "rojo", "verde")]
    prepared = prepare(DataSpec(source=str(write_csv(rows + small)), min_rows=4), cache)
    assert prepared.labels == ("CLASS_0", "CLASS_1", "CLASS_2", "CLASS_3")
    assert prepared.summary["rows_left_out_by_min_rows"] == 3
    assert prepared.summary["categories_left_out_by_min_rows"] == 1


def test_labels_are_stripped_and_sorted(write_csv, rows, cache):
    for row in rows[::2]:
        row[3] = f"  {row[3]}\t"
    prepared = prepare(DataSpec(source=str(write_csv(rows))), cache)
    assert prepared.labels == ("CLASS_0", "CLASS_1", "CLASS_2", "CLASS_3")


def test_a_damaged_cache_is_rebuilt_and_refused_when_only_opened(write_csv, rows, cache):
    spec = DataSpec(source=str(write_csv(rows)))
    prepared = prepare(spec, cache)
    path = prepared.folder / "train.token_ids.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="token_ids.npy does not match its checksum"):
        open_prepared(prepared.folder)
    messages = []
    rebuilt = prepare(spec, cache, progress=lambda message, _: messages.append(message))
    assert sum("damaged" in message for message in messages) == 1
    assert rebuilt.train.token_ids.max() < len(rebuilt.vocabulary)


def test_opening_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_prepared(tmp_path / "x")


def test_progress_goes_from_nothing_to_all(write_csv, rows, cache, monkeypatch):
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 500)
    fractions = []
    spec = DataSpec(source=str(write_csv(rows)))
    prepare(spec, cache, progress=lambda _, f: fractions.append(f), processes=1)
    reading = [fraction for fraction in fractions if fraction is not None]
    assert reading == sorted(reading) and reading[-1] == 1.0 and len(reading) > 10


_PREPARE = """
import sys
from pathlib import Path
from data_utils import DataSpec, prepare
from data_utils import readers
readers.BLOCK_BYTES = 20_000
print("ready", flush=True)
prepared = prepare(DataSpec(source=sys.argv[1]), Path(sys.argv[2]), processes=2)
print(prepared.fingerprint)
"""


def test_interrupting_leaves_nothing_and_ends_the_processes(write_csv, rows, cache):
    path = write_csv(rows * 3000)
    command = [sys.executable, "-c", _PREPARE, str(path), str(cache)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    children: list[str] = []
    while len(children) < 2:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert list((cache / "data").iterdir()) == []
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_a_cleaning_process_that_dies_is_one_clear_line(write_csv, rows, cache, monkeypatch):
    monkeypatch.setattr("data_utils.workers.sys.executable", "/bin/false")
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 500)
    with pytest.raises(DataError, match="was killed"):
        prepare(DataSpec(source=str(write_csv(rows))), cache, processes=2)
    assert list((cache / "data").iterdir()) == []


def test_a_disk_that_fills_while_preparing_leaves_nothing(write_csv, rows, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        with pytest.raises(DataError, match="no space left"):
            prepare(DataSpec(source=str(write_csv(rows * 50))), disk)
        assert list((disk / "data").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_size_limit_while_preparing_is_one_clear_line(write_csv, rows, cache):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n" + _PREPARE
    )
    path = write_csv(rows * 50)
    command = [sys.executable, "-c", code, str(path), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1].startswith("data_utils.errors.DataError: no space")
    assert list((cache / "data").iterdir()) == []


def test_the_summary_can_be_written_as_json(write_csv, rows, cache):
    summary = prepare(DataSpec(source=str(write_csv(rows))), cache).summary
    assert json.loads(json.dumps(summary)) == summary
    assert sum(summary["splits"].values()) == summary["rows_used"] == 200
    assert set(summary["unknown_token_share"]) == {"train", "validation", "test"}


def test_the_embedded_catalogue_is_prepared_by_family_and_segment(cache):
    family = prepare(DataSpec(level="family"), cache)
    assert (family.name, len(family.labels), family.summary["rows_read"]) == (
        "sat-family",
        317,
        52514,
    )
    segment = prepare(DataSpec(), cache)
    assert (segment.name, len(segment.labels)) == ("sat-segment", 56)
    assert {label[:2] for label in family.labels} <= set(segment.labels)


@pytest.mark.parametrize(
    ("name", "rows", "labels"), [("amazon", 84497, 77), ("unspsc", 39606, 352)]
)
def test_real_titles_are_split_with_every_category_in_every_part(cache, name, rows, labels):
    path = SHARED / f"{name}_titles.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    prepared = prepare(DataSpec(source=str(path)), cache)
    assert (prepared.summary["rows_used"], len(prepared.labels)) == (rows, labels)
    assert prepared.summary["held_out_rows_also_in_train"] == 0
    counts = np.bincount(prepared.train.labels, minlength=labels)
    held_out = [
        np.bincount(t.labels, minlength=labels) for t in (prepared.validation, prepared.test)
    ]
    assert counts.min() > 0 and all((c[counts >= 3] > 0).all() for c in held_out)


def test_data_of_the_first_cleaning_have_the_fingerprint_that_they_had(write_csv, rows, cache):
    """Workers and caches of studies from before there were versions go on."""
    path = write_csv(rows)
    spec = DataSpec(source=str(path), cleaning=Cleaning(version=1))
    settings = asdict(spec) | {"min_rows": 1, "is_split": False}
    source = open_source(spec)
    settings["columns"] = [part.layout.columns for part in source.parts]
    for name in ("source", "strict", "text_column", "label_column", "level"):
        del settings[name]
    del settings["cleaning"]["version"]
    known = {
        "format": 3,
        "content": source.digest,
        "settings": settings,
        "unicode": unicodedata.unidata_version,
        "stop_words": sorted(stop_words(spec.cleaning.stop_words)),
    }
    text = json.dumps(known, sort_keys=True)
    assert prepare(spec, cache).fingerprint == hashlib.sha256(text.encode()).hexdigest()
    current = prepare(DataSpec(source=str(path)), cache)
    assert current.fingerprint != prepare(spec, cache).fingerprint


@pytest.mark.parametrize(("version", "num_labels"), [(1, 8), (2, 4)])
def test_a_category_is_one_line_however_it_is_spelled(write_csv, rows, cache, version, num_labels):
    spelling = ["Caf\u00e9  {}", " Cafe\u0301\t{} ", "Caf\u00e9\n{}", "Cafe\u0301\u00a0{}"]
    for index, row in enumerate(rows):
        row[3] = spelling[index // 4 % (4 if version == 2 else 2)].format(row[3])
    spec = DataSpec(source=str(write_csv(rows)), cleaning=Cleaning(version=version))
    labels = prepare(spec, cache).labels
    assert len(labels) == num_labels
    if version == 2:
        assert labels == tuple(f"Caf\u00e9 CLASS_{i}" for i in range(4))


def test_a_file_that_changes_while_it_is_read_leaves_nothing(write_csv, rows, cache, monkeypatch):
    path = write_csv(rows)
    monkeypatch.setattr("data_utils.readers.BLOCK_BYTES", 500)

    def append(file):
        with file.open("a", encoding="utf-8") as opened:
            opened.write("nuevo mesa,reliable,spanish,CLASS_0\n")

    def put_another_there(file):
        shutil.copy(file, file.with_suffix(".other"))
        os.replace(file.with_suffix(".other"), file)

    for change in (append, put_another_there):
        changes = [change]

        def progress(text, fraction, changes=changes):
            while changes:
                changes.pop()(path)

        with pytest.raises(DataError, match="titles.csv changed while it was read: try again"):
            prepare(DataSpec(source=str(path)), cache, progress=progress, processes=1)
        assert list((cache / "data").iterdir()) == []
    assert prepare(DataSpec(source=str(path)), cache).summary["rows_read"] == 201


def test_a_source_whose_name_is_not_utf8_is_prepared(write_csv, rows, cache):
    path = write_csv(rows)
    odd = os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.csv")
    os.rename(path, odd)
    prepared = prepare(DataSpec(source=odd), cache)
    assert prepared.summary["source"].endswith("caf\\udce9.csv")
    assert prepare(DataSpec(source=odd), cache).folder == prepared.folder


def test_a_count_that_leaves_no_word_is_named(write_csv, rows, cache):
    with pytest.raises(DataError, match="--min-count 1000 leaves no word .* occurs [0-9]+ times"):
        prepare(DataSpec(source=str(write_csv(rows)), min_count=1000), cache)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 10**20])
def test_a_split_seed_over_64_bits_is_refused(seed):
    with pytest.raises(DataError, match="--split-seed"):
        DataSpec(split_seed=seed)
    DataSpec(split_seed=2**63 - 1)


def test_near_duplicates_that_are_most_of_a_category_are_divided(write_csv, rows, cache):
    near = [[f"tornillo acero {index} mm", "", "", "SCREWS"] for index in range(100)]
    prepared = prepare(DataSpec(source=str(write_csv(rows + near))), cache)
    screws = prepared.labels.index("SCREWS")
    counts = [int((titles.labels == screws).sum()) for titles in _splits(prepared).values()]
    assert counts == [80, 10, 10]
    assert prepared.summary["held_out_rows_also_in_train"] == 20


@pytest.mark.parametrize("options", [{}, {"sample": 20}, {"min_rows": 2}])
def test_a_source_of_too_few_titles_is_told_what_it_lacks(write_csv, cache, options):
    path = write_csv([["mesa", "", "", "A"]] * 15 + [["gato", "", "", "B"]] * 15)
    with pytest.raises(DataError, match="no rows for validation: no category has") as caught:
        prepare(DataSpec(source=str(path), **options), cache)
    assert all(f"--{name.replace('_', '-')}" in str(caught.value) for name in options)
