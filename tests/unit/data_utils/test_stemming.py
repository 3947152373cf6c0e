"""Stems from the titles to the vectors."""

import numpy as np
import pytest

from data_utils import DataSpec, prepare
from data_utils.stemming import LANGUAGES, Stemmer, guess_language
from data_utils.vectors import word_vectors

FORMS = ("zapato", "zapatos", "zapatito", "lámpara", "lámparas", "mesa", "mesas", "gato", "gata")


@pytest.fixture
def stemmed(write_csv, cache):
    """Titles of which each form is in many, so that train has nearly all; prepared."""

    def run(stemmer="spanish", titles=None):
        if titles is None:
            titles = [f"{a} {b} con la luz" for a in FORMS for b in FORMS if a != b]
        rows = [[t, "reliable", "spanish", f"CLASS_{i % 2}"] for i, t in enumerate(titles)]
        return prepare(DataSpec(str(write_csv(rows)), stemmer=stemmer), cache, processes=1)

    return run


@pytest.fixture
def course(write_course, cache):
    """Train knows some forms, validation brings others: given splits make it certain."""

    def run(stemmer):
        def rows(*titles):
            return [[t, "reliable", "spanish", f"C{i % 2}"] for i, t in enumerate(titles)]

        folder = write_course(
            {
                "spanish.train": rows("zapato rojo", "mesa roja", "zapato verde", "mesa rojo"),
                "spanish.validation": rows("zapatos mesas", "perro rojas"),
                "spanish.test": rows("zapato", "perros verdes"),
            }
        )
        return prepare(DataSpec(str(folder), stemmer=stemmer), cache, processes=1)

    return run


def tokens(prepared, titles, index):
    ids = titles.token_ids[titles.offsets[index] : titles.offsets[index + 1]]
    return [prepared.vocabulary.tokens[token] for token in ids.tolist()]


def test_unseen_forms_of_seen_words_are_prepared_as_their_stem(course):
    prepared = course("spanish")
    assert tokens(prepared, prepared.validation, 0) == ["<stem> zapat", "<stem> mes"]
    assert tokens(prepared, prepared.validation, 1) == ["<unk>", "<stem> roj"]
    assert tokens(prepared, prepared.test, 1) == ["<unk>", "<stem> verd"]


def test_seen_words_stay_themselves(course):
    prepared = course("spanish")
    assert tokens(prepared, prepared.test, 0) == ["zapato"]
    seen = {token for index in range(4) for token in tokens(prepared, prepared.train, index)}
    assert seen == set(prepared.vocabulary.words)


def test_preparing_and_the_vocabulary_agree_on_unseen_words(course):
    prepared = course("spanish")
    ids = prepared.vocabulary.encode(["zapatos", "mesas", "perro", "rojas"])
    assert prepared.validation.token_ids.tolist() == ids.tolist()


def test_no_stemmer_gives_no_stems_and_unseen_words_are_unknown(course):
    prepared = course("none")
    assert prepared.vocabulary.stemmer is None
    assert not prepared.vocabulary.stem_ids.any()
    assert not any(token.startswith("<stem>") for token in prepared.vocabulary.tokens)
    assert set(prepared.validation.token_ids.tolist()) == {1}
    assert prepared.summary["stemmer"] == "none"


def test_the_stemmer_is_part_of_the_fingerprint(course, cache):
    with_stems = course("spanish")
    again = prepare(DataSpec(str(cache.parent / "course"), stemmer="none"), cache, processes=1)
    assert again.fingerprint != with_stems.fingerprint


def test_auto_takes_the_language_of_the_titles(stemmed):
    assert stemmed("auto").vocabulary.stemmer.language == "spanish"


def test_auto_takes_english_for_english_titles(stemmed):
    titles = [f"{a} for the {b}" for a in FORMS for b in FORMS if a != b]
    prepared = stemmed("auto", titles)
    assert prepared.vocabulary.stemmer.language == prepared.summary["stemmer"] == "english"


@pytest.mark.parametrize("from_file", [True, False])
def test_the_vector_of_a_stem_is_the_mean_of_its_words(stemmed, cache, tmp_path, from_file):
    prepared = stemmed()
    path = None
    if from_file:  # without one of the words, which gets noise
        path = tmp_path / "words.vec"
        words = prepared.vocabulary.words[1:]
        rng = np.random.default_rng(0)
        path.write_text(
            "".join(f"{word} {' '.join(map(str, rng.normal(size=6)))}\n" for word in words)
        )
    vectors = word_vectors(prepared, path=path, dim=6, cache_dir=cache).matrix
    stem_ids = prepared.vocabulary.stem_ids
    assert len(vectors) == len(prepared.vocabulary)
    shared = 0
    for stem in set(stem_ids.tolist()) - {0}:
        words = np.flatnonzero(stem_ids == stem)
        shared += len(words) > 1
        np.testing.assert_allclose(vectors[stem], vectors[words].mean(0), rtol=1e-5, atol=1e-6)
    assert shared >= 3


def test_stems_are_not_counted_as_missing_from_a_file(stemmed, cache, tmp_path):
    prepared = stemmed()
    path = tmp_path / "words.vec"
    path.write_text("".join(f"{word} 1 2 3\n" for word in prepared.vocabulary.words))
    vectors = word_vectors(prepared, path=path, cache_dir=cache)
    assert (vectors.found, vectors.missing) == (len(prepared.vocabulary.words), 0)


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("spanish", ["congelado", "congelada", "congelados"]),
        ("portuguese", ["sapato", "sapatos"]),
        ("english", ["connect", "connected", "connecting"]),
    ],
)
def test_forms_of_a_word_have_one_stem(language, forms):
    assert len({Stemmer(language)(form) for form in forms}) == 1


def test_a_stemmer_of_every_language_can_be_made():
    assert [Stemmer(language).language for language in LANGUAGES] == list(LANGUAGES)


def test_nothing_to_guess_from_is_the_first_language():
    assert guess_language([]) == LANGUAGES[0]
