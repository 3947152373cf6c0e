"""Which rows of a source are used, in which class, and in which part of the split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.collecting import Collection
from data_utils.errors import DataError, one_line
from data_utils.hashing import hash_bytes, mix
from data_utils.sources import Source
from data_utils.spec import DataSpec
from data_utils.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    divide_large_groups,
    large_groups,
    split_rows,
)

PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
LEFT_OUT = -1


@dataclass(frozen=True)
class Choice:
    """The class of each row, its part, what was counted; ``is_new`` if it was another before."""

    names: list[str]  # of the classes
    labels: NDArray[np.int32]  # (N,) -1 for a category that is left out
    parts: NDArray[np.int8]  # (N,) LEFT_OUT or one of PARTS
    summary: dict[str, Any]
    is_new: bool


def choose_rows(rows: Collection, source: Source, spec: DataSpec) -> Choice:
    """Draw the sample, leave small categories out, and split.

    Raises DataError if too few rows are left for a category, the source or a part.
    """
    kept, summary, is_other_sample = _keep_rows(rows, source, spec)
    names, labels = _classes(rows, kept)
    if source.is_split:
        given = np.where(kept, rows.column("splits"), LEFT_OUT).astype(np.int8)
        parts, is_other_split = given, False
    else:
        parts, is_other_split = _split(rows, spec, kept, labels, num_classes=len(names))
    for name, part in PARTS.items():
        if not (parts == part).any():
            raise DataError(f"{spec.source} has no rows for {name}: {_advice(source, spec)}")
    return Choice(names, labels, parts, summary, is_other_sample or is_other_split)


def _keep_rows(
    rows: Collection, source: Source, spec: DataSpec
) -> tuple[NDArray[np.bool_], dict[str, Any], bool]:
    """Which rows are kept (N,), what was counted, and whether the sample is another than before.

    Raises DataError if too few are left.
    """
    labels = rows.column("labels")
    _refuse_unusable(rows, spec)
    kept, is_new = np.ones(len(labels), dtype=bool), False
    if spec.sample is not None and spec.sample < len(labels):
        kept, is_new = _sample(rows.column("row_hashes"), spec.sample)
    num_sampled = int(kept.sum())
    num_rows = np.bincount(labels[kept], minlength=len(rows.labels.ids))
    is_small = num_rows < source.min_rows
    kept &= ~is_small[labels]
    names = list(rows.labels.ids)
    left = np.flatnonzero(~is_small & (num_rows > 0)).tolist()
    if len(left) < 2:
        which = f" ({one_line(names[left[0]])!r})" if left else ""
        raise DataError(
            f"{spec.source} has {len(left)} category{which} with {source.min_rows} or more of "
            f"its {num_sampled:,} rows: two are needed to tell titles apart"
        )
    single = [index for index in left if num_rows[index] == 1]
    if single:
        raise DataError(
            f"{spec.source} has {len(single)} categories with one row only, such as "
            f"{one_line(names[single[0]])!r}: give --min-rows 2 to leave them out"
        )
    counts = rows.counts
    summary = {
        # A path may hold bytes that are not UTF-8.
        "source": spec.source.encode("utf-8", "backslashreplace").decode(),
        "rows_read": counts.num_read,
        "rows_used": int(kept.sum()),
        "rows_rejected": counts.rejected,
        "first_rejected": counts.first_rejected,
        "oddities": counts.oddities,
        "first_oddities": counts.first_oddities,
        "rows_left_out_by_filter": counts.num_filtered,
        "rows_left_out_by_sample": len(labels) - num_sampled,
        "rows_left_out_by_min_rows": num_sampled - int(kept.sum()),
        "categories_left_out_by_min_rows": int((is_small & (num_rows > 0)).sum()),
        "min_rows": source.min_rows,
    }
    return kept, summary, is_new


def _sample(hashes: NDArray[np.uint64], size: int) -> tuple[NDArray[np.bool_], bool]:
    """Which rows (N,) are drawn, and whether they are others than before copies were told apart.

    Equal rows have equal hashes (N,): each copy but the first gets one of its own.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    places = np.arange(len(order))
    first = np.where(np.concatenate(([True], ordered[1:] != ordered[:-1])), places, 0)
    copies = places - np.maximum.accumulate(first)
    own = np.where(copies > 0, mix(ordered ^ mix(copies.astype(np.uint64))), ordered)
    drawn, before = np.zeros(len(order), dtype=bool), np.zeros(len(order), dtype=bool)
    drawn[order[np.argsort(own, kind="stable")[:size]]] = True
    before[order[:size]] = True
    return drawn, bool((drawn != before).any())


def _refuse_unusable(rows: Collection, spec: DataSpec) -> None:
    if len(rows.column("labels")):
        return
    counts = rows.counts
    if not counts.num_read:
        raise DataError(f"{spec.source} has no rows: nothing follows its header")
    if counts.num_filtered:
        wanted = [value for value in (spec.language, spec.label_quality) if value is not None]
        raise DataError(
            f"none of the {counts.num_read:,} rows of {spec.source} is {' and '.join(wanted)}"
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.rejected.items())
    first = next(iter(counts.first_rejected.values()))
    raise DataError(f"{spec.source} has no row that can be used: {reasons} (first in {first})")


def _classes(rows: Collection, kept: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.int32]]:
    """The names of the kept categories, sorted, and the class (N,) of each row, -1 if not kept."""
    labels = rows.column("labels")
    names = list(rows.labels.ids)
    present = np.flatnonzero(np.bincount(labels[kept], minlength=len(names))).tolist()
    ordered = sorted(present, key=names.__getitem__)
    classes = np.full(len(names), -1, dtype=np.int32)
    classes[ordered] = np.arange(len(ordered), dtype=np.int32)
    return [names[index] for index in ordered], classes[labels]


def _split(
    rows: Collection,
    spec: DataSpec,
    kept: NDArray[np.bool_],
    labels: NDArray[np.int32],
    *,
    num_classes: int,
) -> tuple[NDArray[np.int8], bool]:
    """The part (N,) of each row, and whether near-duplicates that fill a category are divided."""
    parts = np.full(len(kept), LEFT_OUT, dtype=np.int8)
    own_labels, groups = labels[kept], rows.column("groups")[kept]
    own = split_rows(own_labels, groups, num_classes=num_classes, seed=spec.split_seed)
    is_large = large_groups(own_labels, groups, num_classes=num_classes)
    divided = own
    if is_large.any():
        of_same_words = np.zeros(len(kept), dtype=bool)
        of_same_words[kept] = np.isin(groups, groups[is_large])
        titles = _title_hashes(rows, of_same_words)[kept]
        divided = divide_large_groups(
            own, own_labels, groups, is_large, titles=titles, seed=spec.split_seed
        )
    parts[kept] = divided
    return parts, bool((divided != own).any())


def _title_hashes(rows: Collection, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """A hash (N,) of the text of each title wanted, 0 for the others."""
    hashes = np.zeros(len(wanted), dtype=np.uint64)
    for chosen, lengths, values in rows.text_blocks():
        ends = np.cumsum(lengths)
        for index in np.flatnonzero(wanted[chosen]).tolist():
            text = values[ends[index] - lengths[index] : ends[index]].tobytes()
            hashes[chosen.start + index] = hash_bytes(text)
    return hashes


def _advice(source: Source, spec: DataSpec) -> str:
    """What to do about a part without rows."""
    if source.is_split:
        return "the file of that part has none that can be used"
    fewer = [
        option
        for option, value in (("--sample", spec.sample), ("--min-rows", spec.min_rows))
        if value is not None
    ]
    left_out = f", or leave fewer out ({', '.join(fewer)})" if fewer else ""
    return (
        "no category has enough different titles, and equal ones stay on one side: give more"
        f"{left_out}"
    )
