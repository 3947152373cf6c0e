import numpy as np
import pytest

from data_utils import DataError, Vocabulary
from data_utils.stemming import Stemmer, guess_language


def test_tokens_are_ordered_by_count_then_name():
    vocabulary = Vocabulary.from_counts(["b", "a", "c", "d"], np.array([2, 2, 5, 0]))
    assert vocabulary.tokens == ("<pad>", "<unk>", "c", "a", "b")
    assert vocabulary.tokens is vocabulary.tokens  # a loop over them builds them once


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


@pytest.fixture
def stemmed():
    return Vocabulary(["rosas", "rosa", "gato"], stemmer=Stemmer("spanish"))


def test_stems_follow_the_words_and_are_shared_by_their_forms(stemmed):
    assert stemmed.tokens[2:] == ("rosas", "rosa", "gato", "<stem> ros", "<stem> gat")
    assert stemmed.stem_ids.tolist() == [0, 0, 5, 5, 6, 0, 0]


def test_an_unknown_word_is_taken_for_its_stem(stemmed):
    assert stemmed.encode(["gatos", "gato", "perro"]).tolist() == [6, 4, 1]


def test_a_word_cannot_be_mistaken_for_a_stem(stemmed):
    assert stemmed.encode(["<stem> ros"]).tolist() == [1]


def test_saving_keeps_stems_and_stemmer(stemmed, tmp_path):
    stemmed.save(tmp_path / "v.txt")
    loaded = Vocabulary.load(tmp_path / "v.txt")
    assert loaded.tokens == stemmed.tokens
    assert loaded.stem_ids.tolist() == stemmed.stem_ids.tolist()
    assert loaded.encode(["gatas"]).tolist() == stemmed.encode(["gatas"]).tolist()


def test_an_unknown_stemmer_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="spanish"):
        Stemmer("klingon")


@pytest.mark.parametrize(
    ("titles", "language"),
    [
        (["zapatos para el niño con luces", "mesa y silla"], "spanish"),
        (["sapatos com luz e som", "mesa não dobrável"], "portuguese"),
        (["shoes with lights and sounds", "table for you"], "english"),
        (["xyz"], "spanish"),
    ],
)
def test_the_language_is_guessed_from_stop_words(titles, language):
    assert guess_language(titles) == language
