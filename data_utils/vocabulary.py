"""The vocabulary: which token has which id."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError

PAD_ID = 0
UNKNOWN_ID = 1
SPECIAL_TOKENS = ("<pad>", "<unk>")


class Vocabulary:
    """Tokens by id: 0 is ``<pad>``, 1 is ``<unk>``, then the tokens, most frequent first."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """``tokens`` are those of ids 2, 3, ..., without the two special ones."""
        self.tokens: tuple[str, ...] = (*SPECIAL_TOKENS, *tokens)

    @classmethod
    def from_counts(
        cls,
        tokens: list[str],
        counts: NDArray[np.int64],
        *,
        max_tokens: int | None = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """Order tokens by (-count, token); tokens that never occur are left out.

        ``max_tokens`` does not count the two special tokens.
        """
        # A stable sort by count over sorted tokens, so that ties do not depend on the input.
        by_name = np.array(sorted(range(len(tokens)), key=tokens.__getitem__), dtype=np.int64)
        ordered = by_name[np.argsort(-counts[by_name], kind="stable")]
        kept = ordered[counts[ordered] >= max(min_count, 1)][:max_tokens]
        return cls(tokens[index] for index in kept.tolist())

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token to id, the special tokens left out: a title may spell them."""
        return {token: index for index, token in enumerate(self.tokens) if index > UNKNOWN_ID}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int32]:
        """Ids of the tokens; a token that is not in the vocabulary gets ``UNKNOWN_ID``."""
        ids = self.ids
        return np.array([ids.get(token, UNKNOWN_ID) for token in tokens], dtype=np.int32)

    def save(self, path: Path) -> None:
        """Write one token a line, the special ones first: line number = id + 1."""
        path.write_text("".join(f"{token}\n" for token in self.tokens), "utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what ``save`` wrote. Raises DataError if the file is something else."""
        # Not splitlines(): it also splits at characters that a token may hold.
        tokens = path.read_bytes().decode("utf-8").split("\n")[:-1]
        if tuple(tokens[:2]) != SPECIAL_TOKENS:
            raise DataError(f"{path} is no vocabulary: its first lines are not <pad> and <unk>")
        return cls(tokens[2:])
