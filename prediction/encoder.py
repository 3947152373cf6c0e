"""Titles to token ids, as the preparation of the data makes them, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_utils.cleaning import Cleaning, TitleEncoder
from data_utils.vocabulary import Vocabulary

# An endless stream has endless many different words; those of a million titles are far fewer.
_MAX_REMEMBERED_TOKENS = 500_000


class StreamEncoder:
    """Encodes chunk after chunk; words seen before are neither cleaned nor looked up again."""

    def __init__(
        self, vocabulary: Vocabulary, cleaning: Cleaning, stop_words: frozenset[str]
    ) -> None:
        self._vocabulary = vocabulary
        self._cleaning = cleaning
        self._stop_words = stop_words
        self._forget()

    def encode(self, titles: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Token ids (T,) of all titles in a row, and the offsets (N + 1,) where each begins."""
        if len(self._titles.tokens) > _MAX_REMEMBERED_TOKENS:
            self._forget()
        token_ids, offsets = self._titles.encode(titles)
        if not len(token_ids):
            return token_ids, offsets
        new = self._titles.tokens[len(self._ids) :]
        self._ids.extend(self._vocabulary.encode(new).tolist())
        return np.frombuffer(self._ids, dtype=np.int32)[token_ids], offsets

    def _forget(self) -> None:
        self._titles = TitleEncoder(self._cleaning, dropped=self._stop_words)
        self._ids = array("i")
        if self._vocabulary.stemmer is not None:
            self._vocabulary.stemmer.forget()
