"""The vocabulary: which token has which id."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError
from data_utils.stemming import Stemmer

PAD_ID = 0
UNKNOWN_ID = 1
SPECIAL_TOKENS = ("<pad>", "<unk>")
STEM_MARK = "<stem>"


class Vocabulary:
    """Tokens by id: 0 is ``<pad>``, 1 is ``<unk>``, then the words, most frequent first.

    With a stemmer the stems of the words follow, as tokens of their own: ``stem_ids`` names the
    stem of each word, and a word that is not known is taken for its stem.
    """

    def __init__(self, words: Iterable[str], *, stemmer: Stemmer | None = None) -> None:
        """``words`` are those of ids 2, 3, ..., without the two special tokens."""
        self._set(tuple(words), stemmer, None)

    def _set(
        self, words: tuple[str, ...], stemmer: Stemmer | None, stems: list[str] | None
    ) -> None:
        self.words = words
        self.stemmer = stemmer
        self._stems = list(map(stemmer, words)) if stemmer and stems is None else stems or []
        first = len(SPECIAL_TOKENS) + len(words)
        self._stem_tokens = {s: first + n for n, s in enumerate(dict.fromkeys(self._stems))}

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """All tokens by id; a stem is spelled with a space, which no word has."""
        stems = (f"{STEM_MARK} {stem}" for stem in self._stem_tokens)
        return (*SPECIAL_TOKENS, *self.words, *stems)

    @cached_property
    def stem_ids(self) -> NDArray[np.int32]:
        """(V,): the id of each word's stem; 0 for special tokens, stems, and without stemmer."""
        ids = np.zeros(len(self), dtype=np.int32)
        if self._stems:
            of_words = [self._stem_tokens[stem] for stem in self._stems]
            ids[len(SPECIAL_TOKENS) : len(SPECIAL_TOKENS) + len(self.words)] = of_words
        return ids

    @classmethod
    def from_counts(
        cls,
        tokens: list[str],
        counts: NDArray[np.int64],
        *,
        max_tokens: int | None = None,
        min_count: int = 1,
        stemmer: Stemmer | None = None,
    ) -> "Vocabulary":
        """Order tokens by (-count, token); tokens that never occur are left out.

        ``max_tokens`` counts words alone.
        """
        # A stable sort by count over sorted tokens, so that ties do not depend on the input.
        by_name = np.array(sorted(range(len(tokens)), key=tokens.__getitem__), dtype=np.int64)
        ordered = by_name[np.argsort(-counts[by_name], kind="stable")]
        kept = ordered[counts[ordered] >= max(min_count, 1)][:max_tokens]
        return cls((tokens[index] for index in kept.tolist()), stemmer=stemmer)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word to id; the special tokens are left out, as a title may spell them."""
        return {word: index for index, word in enumerate(self.words, len(SPECIAL_TOKENS))}

    def __len__(self) -> int:
        return len(SPECIAL_TOKENS) + len(self.words) + len(self._stem_tokens)

    def encode(self, words: Iterable[str]) -> NDArray[np.int32]:
        """Ids of the words; one that is not known gets its stem's, or ``UNKNOWN_ID``."""
        return np.array([self._id(word) for word in words], dtype=np.int32)

    def _id(self, word: str) -> int:
        index = self.ids.get(word)
        if index is not None:
            return index
        if self.stemmer is None:
            return UNKNOWN_ID
        return self._stem_tokens.get(self.stemmer(word), UNKNOWN_ID)

    def save(self, path: Path) -> None:
        """Write the special tokens, then a word a line: line number = id + 1.

        With a stemmer its language stands behind ``<pad>``, and its stem behind each word.
        """
        lines: Iterable[str] = (*SPECIAL_TOKENS, *self.words)
        if self.stemmer is not None:
            pairs = zip(self.words, self._stems, strict=True)
            head = (f"{SPECIAL_TOKENS[0]} {self.stemmer.language}", SPECIAL_TOKENS[1])
            lines = (*head, *(f"{word} {stem}" for word, stem in pairs))
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what ``save`` wrote. Raises DataError if the file is something else."""
        # Not splitlines(): it also splits at characters that a token may hold.
        lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
        pad, _, language = lines[0].partition(" ") if lines else ("", "", "")
        if (pad, *lines[1:2]) != SPECIAL_TOKENS:
            raise DataError(f"{path} is no vocabulary: its first lines are not <pad> and <unk>")
        vocabulary = cls(())
        if language:
            pairs = [line.partition(" ") for line in lines[2:]]
            words = tuple(word for word, _, _ in pairs)
            vocabulary._set(words, Stemmer(language), [stem for _, _, stem in pairs])
        else:
            vocabulary._set(tuple(lines[2:]), None, None)
        return vocabulary
