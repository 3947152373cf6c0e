"""Words that say nothing of what a title sells, by language."""

import unicodedata
from functools import lru_cache

from data_utils.errors import DataError


@lru_cache
def stop_words(languages: tuple[str, ...]) -> frozenset[str]:
    """The stop words of all these languages. Raises DataError for an unknown language."""
    if not languages:
        return frozenset()
    import stop_words as package

    words: set[str] = set()
    for language in languages:
        try:
            words.update(package.get_stop_words(language))
        except package.StopWordError as error:
            known = ", ".join(sorted(package.AVAILABLE_LANGUAGES))
            raise DataError(f"no stop words for {language!r}: choose among {known}") from error
    return frozenset(unicodedata.normalize("NFKC", word).lower() for word in words)
