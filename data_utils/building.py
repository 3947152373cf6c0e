"""From a source to the arrays of a cache folder, in one pass over its text."""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import ArrayWriter, save_array
from data_utils.cache import Progress
from data_utils.collecting import Collection
from data_utils.emptied import advise
from data_utils.errors import DataError, one_line
from data_utils.parsing import Block
from data_utils.sources import Part, Source
from data_utils.spec import DataSpec
from data_utils.splits import TEST, TRAIN, VALIDATION, split_rows
from data_utils.stemming import AUTO, NONE, Stemmer, guess_language
from data_utils.vocabulary import UNKNOWN_ID, Vocabulary
from data_utils.workers import encode_blocks

_PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
_LEFT_OUT = -1
_TITLES_TO_GUESS_FROM = 5_000


def build_arrays(
    folder: Path,
    source: Source,
    spec: DataSpec,
    *,
    fingerprint: str,
    progress: Progress | None,
    processes: int,
) -> None:
    """Fill a folder with the arrays, the vocabulary and meta.json of a source.

    Raises DataError if the source cannot be used, OSError if the folder cannot be written.
    """
    with Collection(folder, strict=spec.strict) as rows:
        jobs = _jobs(source)
        encoded = encode_blocks(
            jobs, spec.cleaning, hash_rows=spec.sample is not None, processes=processes
        )
        with closing(encoded):  # ends its processes at once, whatever happens here
            for part, encoder, block, chunk in encoded:
                rows.add(part, encoder, chunk)
                if progress is not None:
                    progress(f"reading {rows.counts.num_read:,} titles", block.fraction)
        if progress is not None:
            progress("splitting and writing", None)
        kept, summary = _choose(rows, source, spec)
        names, labels = _classes(rows, kept)
        parts = _split(rows, source, spec, kept, labels, len(names))
        vocabulary, written = _write(folder, rows, parts, labels, spec)
        summary |= _describe(rows, parts, vocabulary) | written
        summary |= {"num_classes": len(names), "given_splits": source.is_split}
    vocabulary.save(folder / "vocabulary.txt")
    meta = {
        "name": source.name,
        "fingerprint": fingerprint,
        "labels": names,
        "summary": summary,
        "spec": asdict(spec),
    }
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, indent=1), "utf-8")


def _jobs(source: Source) -> Iterator[tuple[Part, Block]]:
    for part in source.parts:
        for block in part.blocks():
            yield part, block


def _choose(
    rows: Collection, source: Source, spec: DataSpec
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Which rows are kept (N,), and what was counted. Raises DataError if too few are left."""
    labels = rows.column("labels")
    _refuse_unusable(rows, spec)
    kept = np.ones(len(labels), dtype=bool)
    if spec.sample is not None and spec.sample < len(labels):
        kept[:] = False
        kept[np.argsort(rows.column("row_hashes"), kind="stable")[: spec.sample]] = True
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
    return kept, {
        "source": spec.source,
        "rows_read": counts.num_read,
        "rows_used": int(kept.sum()),
        "rows_rejected": counts.rejected,
        "first_rejected": counts.first_rejected,
        "rows_left_out_by_filter": counts.num_filtered,
        "rows_left_out_by_sample": len(labels) - num_sampled,
        "rows_left_out_by_min_rows": num_sampled - int(kept.sum()),
        "categories_left_out_by_min_rows": int((is_small & (num_rows > 0)).sum()),
        "min_rows": source.min_rows,
    }


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
    source: Source,
    spec: DataSpec,
    kept: NDArray[np.bool_],
    labels: NDArray[np.int32],
    num_classes: int,
) -> NDArray[np.int8]:
    """The split (N,) of each row, -1 for one that is left out."""
    if source.is_split:
        parts = np.where(kept, rows.column("splits"), _LEFT_OUT).astype(np.int8)
    else:
        parts = np.full(len(kept), _LEFT_OUT, dtype=np.int8)
        parts[kept] = split_rows(
            labels[kept],
            rows.column("groups")[kept],
            num_classes=num_classes,
            seed=spec.split_seed,
        )
    for name, part in _PARTS.items():
        if not (parts == part).any():
            raise DataError(
                f"{spec.source} has no rows for {name}: "
                "give more rows, or keep more of them (--sample, --min-rows)"
            )
    return parts


def _write(
    folder: Path,
    rows: Collection,
    parts: NDArray[np.int8],
    labels: NDArray[np.int32],
    spec: DataSpec,
) -> tuple[Vocabulary, dict[str, Any]]:
    """Write the arrays of the three splits; return the vocabulary and what was counted."""
    counts = np.zeros(len(rows.tokens.ids), dtype=np.int64)
    for chosen, lengths, token_ids in rows.token_blocks():
        in_train = np.repeat(parts[chosen] == TRAIN, lengths)
        counts += np.bincount(token_ids[in_train], minlength=len(counts))
    tokens = list(rows.tokens.ids)
    vocabulary = Vocabulary.from_counts(
        tokens,
        counts,
        max_tokens=spec.max_vocabulary,
        min_count=spec.min_count,
        stemmer=_stemmer(rows, spec),
    )
    if not vocabulary.words:
        raise DataError(
            f"nothing is left of the titles of {spec.source} after cleaning: "
            + advise(list(itertools.islice(_first_titles(rows), 1_000)), spec.cleaning)
        )
    final_ids = vocabulary.encode(tokens)
    del tokens, counts
    unknown = _write_flat(folder, "token_ids", parts, rows.token_blocks(), final_ids)
    _write_flat(folder, "text_bytes", parts, rows.text_blocks(), None)
    for name, part in _PARTS.items():
        chosen = parts == part
        # As training takes them: narrower ones would be copied by each worker.
        save_array(folder / f"{name}.labels.npy", labels[chosen].astype(np.int64))
        for kind, column in (("offsets", "lengths"), ("text_offsets", "text_lengths")):
            lengths = rows.column(column)[chosen]
            offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
            save_array(folder / f"{name}.{kind}.npy", offsets)
    return vocabulary, {"unknown_token_share": unknown}


def _stemmer(rows: Collection, spec: DataSpec) -> Stemmer | None:
    if spec.stemmer == NONE:
        return None
    if spec.stemmer != AUTO:
        return Stemmer(spec.stemmer)
    return Stemmer(guess_language(_first_titles(rows)))


def _first_titles(rows: Collection) -> Iterator[str]:
    for _, lengths, values in rows.text_blocks():
        ends = np.cumsum(lengths[:_TITLES_TO_GUESS_FROM]).tolist()
        for start, end in itertools.pairwise((0, *ends)):
            yield values[start:end].tobytes().decode("utf-8", "replace")
        return


def _write_flat(
    folder: Path,
    kind: str,
    parts: NDArray[np.int8],
    blocks: Iterator[tuple[slice, NDArray[np.int64], NDArray[Any]]],
    final_ids: NDArray[np.int32] | None,
) -> dict[str, float]:
    """Write the flat values of all rows to the splits; return the share of unknown tokens."""
    dtype = np.uint8 if final_ids is None else np.int32
    unknown = dict.fromkeys(_PARTS, 0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ArrayWriter(folder / f"{name}.{kind}.npy", dtype))
            for name in _PARTS
        }
        for chosen, lengths, values in blocks:
            if final_ids is not None:
                values = final_ids[values]
            part_of_value = np.repeat(parts[chosen], lengths)
            for name, part in _PARTS.items():
                selected = values[part_of_value == part]
                writers[name].append(selected)
                unknown[name] += int((selected == UNKNOWN_ID).sum())
        return {name: unknown[name] / max(writers[name].num_rows, 1) for name in _PARTS}


def _describe(rows: Collection, parts: NDArray[np.int8], vocabulary: Vocabulary) -> dict[str, Any]:
    """Count near-duplicates, empty titles and sizes."""
    used = parts != _LEFT_OUT
    groups, lengths = rows.column("groups"), rows.column("lengths")
    ordered = np.sort(groups[used])
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))
    sizes = np.diff(np.flatnonzero(is_first))
    in_train = np.sort(groups[parts == TRAIN])
    held_out = groups[parts > TRAIN]
    places = np.searchsorted(in_train, np.sort(held_out)).clip(max=len(in_train) - 1)
    num_leaked = int((in_train[places] == np.sort(held_out)).sum())
    return {
        "splits": {name: int((parts == part).sum()) for name, part in _PARTS.items()},
        "near_duplicate_groups": int((sizes > 1).sum()),
        "near_duplicate_rows": int(sizes[sizes > 1].sum()),
        "held_out_rows_also_in_train": num_leaked,
        "vocabulary_size": len(vocabulary.words),
        "stemmer": vocabulary.stemmer.language if vocabulary.stemmer else NONE,
        "titles_without_tokens": int((lengths[used] == 0).sum()),
        "mean_tokens": float(lengths[used].mean()),
    }
