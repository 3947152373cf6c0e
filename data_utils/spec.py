"""What the user asks to prepare."""

from dataclasses import dataclass

from data_utils.cleaning import Cleaning
from data_utils.errors import DataError


@dataclass(frozen=True)
class DataSpec:
    """What to prepare. Equal specs over equal bytes give equal data.

    ``source`` is ``"sat"``, a file or a course folder; ``level`` is for ``"sat"`` alone.
    ``sample`` keeps a fixed pseudo-random sample of the rows. ``min_rows`` then leaves out the
    categories with fewer rows (None keeps all; 20 for ``"sat"``). ``max_vocabulary`` does not
    count ``<pad>``, ``<unk>`` and stems. ``stemmer`` is a language of ``stemming.LANGUAGES``,
    ``"auto"`` (the titles' own) or ``"none"``. ``split_seed`` draws the split of a source that
    comes without one. ``strict`` refuses a source with a row that cannot be used.

    Raises DataError for a number below 1, and for a split seed that 64 bits cannot hold.
    """

    source: str = "sat"
    level: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    language: str | None = None
    label_quality: str | None = None
    min_rows: int | None = None
    sample: int | None = None
    cleaning: Cleaning = Cleaning()
    max_vocabulary: int | None = None
    min_count: int = 1
    stemmer: str = "auto"
    split_seed: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("min_rows", "sample", "max_vocabulary", "min_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                option = "--" + name.replace("_", "-")
                raise DataError(f"{option} must be 1 or more, got {value}")
        if not -(2**63) <= self.split_seed < 2**63:
            raise DataError(f"--split-seed is {self.split_seed}: give one below {2**63}")
