"""64-bit hashes that are the same in every process and on every machine."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64


def hash_bytes(data: bytes) -> int:
    """Hash bytes well (BLAKE2b)."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit values: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    mixed = values + np.uint64(_BASE)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class PieceHasher:
    """Hashes many pieces of one text at once, by differences of a running polynomial.

    The hash of a piece b_0 ... b_n is the sum of T[b_i] * p^i modulo 2^64 for random numbers T
    (Karp and Rabin, 1987), scrambled: two of a million pieces collide with odds below 10^-5.
    """

    def __init__(self) -> None:
        self._values = np.random.default_rng(1987).integers(1 << 63, size=256, dtype=np.uint64)
        self._powers = self._inverses = np.ones(0, dtype=np.uint64)

    def hash(
        self, text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """Hash the pieces ``text[starts[i]:ends[i]]``: (P,)."""
        if len(self._powers) < len(text):
            self._powers = _powers(_BASE, len(text))
            self._inverses = _powers(pow(_BASE, -1, 1 << 64), len(text))
        sums = np.zeros(len(text) + 1, dtype=np.uint64)
        np.take(self._values, text, out=sums[1:])
        sums[1:] *= self._powers[: len(text)]
        np.cumsum(sums, out=sums)
        return mix((sums[ends] - sums[starts]) * self._inverses[starts])


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, out=powers)
