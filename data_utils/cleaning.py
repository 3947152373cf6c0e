"""From a title to its tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cleaning:
    """Which cleaning steps are on; all of them are, unless switched off."""

    normalize: bool = True
    lower: bool = True
    tags: bool = True
    punctuation: bool = True
    numbers: bool = True
    stop_words: tuple[str, ...] = ("spanish", "portuguese", "english")
    min_letters: int = 3
