"""Stems of words, so that forms of one word share what is learnt of each.

The Snowball stemmers (Porter 2001): ``congelada``, ``congelados`` -> ``congel``.
"""

from collections.abc import Iterable

from data_utils.errors import DataError

LANGUAGES = ("spanish", "portuguese", "english")
AUTO, NONE = "auto", "none"
# Frequent little words, each of one of the languages alone. Whole lists of stop words mislead:
# they are of very different lengths.
_MARKS = {
    word: language
    for language, words in {
        "spanish": "la el los las un una y con sin del al",
        "portuguese": "do da dos das um uma com sem em ao não ou",
        "english": "the of for with and in to from by an",
    }.items()
    for word in words.split()
}


class Stemmer:
    """Word -> stem in one language; each word is worked out once.

    Raises DataError for a language that is not among ``LANGUAGES``.
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            known = ", ".join((AUTO, NONE, *LANGUAGES))
            raise DataError(f"the stemmer {language!r} is unknown: give one of {known}")
        import snowballstemmer

        self.language = language
        self._stem = snowballstemmer.stemmer(language).stemWord
        self._stems: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        stem = self._stems.get(word)
        if stem is None:
            stem = self._stems[word] = self._stem(word)
        return stem

    def forget(self) -> None:
        """Free the memory of the words seen."""
        self._stems.clear()


def guess_language(titles: Iterable[str]) -> str:
    """The language of ``LANGUAGES`` whose marks are the most frequent in the titles.

    Without any mark, the first language.
    """
    found = dict.fromkeys(LANGUAGES, 0)
    for title in titles:
        for word in title.lower().split():
            if language := _MARKS.get(word):
                found[language] += 1
    return max(LANGUAGES, key=found.__getitem__)
