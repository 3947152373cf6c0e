"""The note on titles that cleaning leaves nothing of."""

import pytest

from data_utils import Cleaning, DataError, DataSpec, prepare
from data_utils.emptied import advise, describe_emptied


def test_few_titles_without_tokens_are_not_worth_a_line(write_csv, rows, cache):
    spec = DataSpec(source=str(write_csv(rows + [[f"{i}", "", "", "CLASS_0"] for i in range(40)])))
    assert describe_emptied(prepare(spec, cache), spec.cleaning) is None


def test_many_are_told_with_the_step_that_emptied_them(write_csv, rows, cache):
    rows += [[f"A{i} B{i * 7}", "", "", f"CLASS_{i % 4}"] for i in range(100)]
    spec = DataSpec(source=str(write_csv(rows)))
    note = describe_emptied(prepare(spec, cache), spec.cleaning)
    assert note is not None
    assert note.startswith("100 of 300 titles of titles have no token after cleaning")
    assert "--keep-numbers" in note
    assert "\n" not in note


@pytest.mark.parametrize(
    ("titles", "advice"),
    [
        (["12 345", "9 8 7777"], "--keep-numbers leaves tokens in 2 of 2"),
        (["tv", "hp lg"], "--min-letters 1 leaves tokens in 2 of 2"),
        (["para con", "with the"], "--stop-words none leaves tokens in 2 of 2"),
        (["---", "+++ ***"], "--keep-punctuation leaves tokens in 2 of 2"),
        (["a1 b2", "c3"], "--keep-numbers --min-letters 1 leaves tokens in 2 of 2"),
        (["", "   "], "the titles themselves hold no words"),
    ],
)
def test_the_advice_names_what_to_switch_off(titles, advice):
    assert advice in advise(titles, Cleaning())


def test_data_of_which_nothing_is_left_are_refused_with_the_step(write_csv, cache):
    path = write_csv([[f"{i}", "", "", f"C{i % 2}"] for i in range(60)])
    with pytest.raises(DataError, match="nothing is left .* after cleaning: --keep-numbers"):
        prepare(DataSpec(source=str(path)), cache)
