import numpy as np
import pytest

from data_utils import DataError, DataSpec, prepare

SPLITS = ("train", "validation", "test")


def _course_of(prepared, rows):
    """The rows of the raw file by the split that they were given."""
    by_title = {row[0]: row for row in rows}
    return {
        f"spanish.{name}": [by_title[titles.text(i)] for i in range(len(titles))]
        for name in SPLITS
        for titles in [getattr(prepared, name)]
    }


def test_a_course_folder_gives_the_same_arrays_as_the_csv_of_its_rows(
    write_csv, write_course, rows, cache
):
    one = prepare(DataSpec(source=str(write_csv(rows))), cache)
    other = prepare(DataSpec(source=str(write_course(_course_of(one, rows)))), cache)
    assert (one.labels, one.vocabulary.tokens) == (other.labels, other.vocabulary.tokens)
    for name in SPLITS:
        for array in ("token_ids", "offsets", "labels", "text_bytes", "text_offsets"):
            arrays = [getattr(getattr(p, name), array) for p in (one, other)]
            assert np.array_equal(*arrays), (name, array)


def _parts(rows, language="spanish"):
    return {
        f"{language}.train": rows[:120],
        f"{language}.validation": rows[120:160],
        f"{language}.test": rows[160:],
    }


def test_the_given_splits_are_kept(write_course, rows, cache):
    prepared = prepare(DataSpec(source=str(write_course(_parts(rows)))), cache)
    assert prepared.summary["splits"] == {"train": 120, "validation": 40, "test": 40}
    assert prepared.summary["given_splits"]
    assert [prepared.test.text(i) for i in range(40)] == [row[0] for row in rows[160:]]


def test_near_duplicates_across_given_splits_are_reported(write_course, rows, cache):
    parts = _parts(rows)
    parts["spanish.test"] = parts["spanish.test"] + [
        [row[0].upper(), *row[1:]] for row in rows[:7]
    ]
    prepared = prepare(DataSpec(source=str(write_course(parts))), cache)
    assert prepared.summary["held_out_rows_also_in_train"] == 7


def test_all_languages_are_read_unless_one_is_chosen(write_course, rows, cache):
    folder = str(write_course(_parts(rows[:100] * 2) | _parts(rows[100:] * 2, "portuguese")))
    assert prepare(DataSpec(source=folder), cache).summary["rows_read"] == 400
    chosen = prepare(DataSpec(source=folder, language="Portuguese"), cache)
    assert chosen.summary["rows_read"] == 200
    assert chosen.train.text(0) == rows[100][0]


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_part_is_named(write_course, rows, cache, split):
    parts = _parts(rows)
    del parts[f"spanish.{split}"]
    with pytest.raises(DataError, match=f"no {split} part: spanish.{split}.jsonl.gz is missing"):
        prepare(DataSpec(source=str(write_course(parts))), cache)


def test_a_seed_for_the_split_is_refused_where_the_split_is_given(write_course, rows, cache):
    spec = DataSpec(source=str(write_course(_parts(rows))), split_seed=1)
    with pytest.raises(DataError, match="--split-seed.*its own parts"):
        prepare(spec, cache)


def test_a_folder_without_course_files_is_refused(tmp_path, cache):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="no course data: files like spanish.train.jsonl.gz"):
        prepare(DataSpec(source=str(tmp_path)), cache)


def test_an_empty_split_is_refused(write_course, rows, cache):
    for row in rows[120:160]:
        row[3] = "RARE"
    rows[120][3] = "RARER"
    with pytest.raises(DataError, match="no rows for validation"):
        prepare(DataSpec(source=str(write_course(_parts(rows))), min_rows=40), cache)
