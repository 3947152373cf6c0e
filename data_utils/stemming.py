"""Stems of words, so that forms of one word share what is learnt of each.

The Snowball stemmers (Porter 2001): ``congelada``, ``congelados`` -> ``congel``.
"""

from collections import Counter
from collections.abc import Iterable

from data_utils.errors import DataError
from data_utils.stop_words import stop_words

LANGUAGES = ("spanish", "portuguese", "english")
AUTO, NONE = "auto", "none"


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


def guess_language(titles: Iterable[str]) -> str:
    """The language of ``LANGUAGES`` whose own stop words are the most frequent in the titles.

    Words that are stop words in two of them tell nothing. Without any, the first language.
    """
    words = {language: stop_words((language,)) for language in LANGUAGES}
    spread = Counter(word for listed in words.values() for word in listed)
    found = Counter({language: 0 for language in LANGUAGES})
    for title in titles:
        for word in title.lower().split():
            if spread[word] == 1:
                found.update(language for language in LANGUAGES if word in words[language])
    return max(LANGUAGES, key=found.__getitem__)
