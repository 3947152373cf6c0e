import numpy as np
import pytest

from data_utils import DataError, Vocabulary


def test_tokens_are_ordered_by_count_then_name():
    vocabulary = Vocabulary.from_counts(["b", "a", "c", "d"], np.array([2, 2, 5, 0]))
    assert vocabulary.tokens == ("<pad>", "<unk>", "c", "a", "b")


def test_limits_leave_out_the_rarest_and_do_not_count_special_tokens():
    counts = np.array([4, 3, 2, 1])
    tokens = ["a", "b", "c", "d"]
    assert len(Vocabulary.from_counts(tokens, counts, max_tokens=2)) == 4
    assert Vocabulary.from_counts(tokens, counts, min_count=3).tokens[2:] == ("a", "b")


def test_a_token_spelled_like_a_special_one_is_unknown():
    assert Vocabulary(["a"]).encode(["<pad>", "<unk>", "a", "z"]).tolist() == [1, 1, 2, 1]


def test_saving_keeps_every_token_even_with_odd_separators(tmp_path):
    vocabulary = Vocabulary(["a", "b\u2028c", "d\x85e", "🎉"])
    vocabulary.save(tmp_path / "v.txt")
    assert Vocabulary.load(tmp_path / "v.txt").tokens == vocabulary.tokens


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path):
    (tmp_path / "v.txt").write_text("hello\nworld\n")
    with pytest.raises(DataError, match="no vocabulary"):
        Vocabulary.load(tmp_path / "v.txt")
