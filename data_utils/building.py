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
from data_utils.errors import DataError
from data_utils.records import Block
from data_utils.selection import LEFT_OUT, PARTS, choose_rows
from data_utils.sources import Part, Source
from data_utils.spec import DataSpec
from data_utils.splits import TRAIN
from data_utils.stemming import AUTO, NONE, Stemmer, guess_language
from data_utils.vocabulary import UNKNOWN_ID, Vocabulary
from data_utils.workers import encode_blocks

_TITLES_TO_GUESS_FROM = 5_000


def build_arrays(
    folder: Path,
    source: Source,
    spec: DataSpec,
    *,
    fingerprint: str,
    fingerprint_before: str,
    progress: Progress | None,
    processes: int,
) -> None:
    """Fill a folder with the arrays, the vocabulary and meta.json of a source.

    The data have ``fingerprint_before`` if they are those that the format before gives.

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
        chosen = choose_rows(rows, source, spec)
        names, labels, parts = chosen.names, chosen.labels, chosen.parts
        vocabulary, written = _write(folder, rows, parts, labels, spec)
        summary = chosen.summary | _describe(rows, parts, vocabulary) | written
        summary |= {"num_classes": len(names), "given_splits": source.is_split}
        is_new = rows.counts.is_new or chosen.is_new
    source.check_unchanged()
    vocabulary.save(folder / "vocabulary.txt")
    meta = {
        "name": source.name,
        "fingerprint": fingerprint if is_new else fingerprint_before,
        "labels": names,
        "summary": summary,
        "spec": asdict(spec),
    }
    # In ASCII: the path of a source may hold bytes that are not UTF-8.
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), "ascii")


def _jobs(source: Source) -> Iterator[tuple[Part, Block]]:
    for part in source.parts:
        for block in part.blocks():
            yield part, block


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
        raise DataError(_why_no_words(rows, spec, int(counts.max(initial=0))))
    final_ids = vocabulary.encode(tokens)
    del tokens, counts
    unknown = _write_flat(folder, "token_ids", parts, rows.token_blocks(), final_ids)
    _write_flat(folder, "text_bytes", parts, rows.text_blocks(), None)
    for name, part in PARTS.items():
        chosen = parts == part
        # As training takes them: narrower ones would be copied by each worker.
        save_array(folder / f"{name}.labels.npy", labels[chosen].astype(np.int64))
        for kind, column in (("offsets", "lengths"), ("text_offsets", "text_lengths")):
            lengths = rows.column(column)[chosen]
            offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
            save_array(folder / f"{name}.{kind}.npy", offsets)
    return vocabulary, {"unknown_token_share": unknown}


def _why_no_words(rows: Collection, spec: DataSpec, most_frequent: int) -> str:
    if most_frequent:
        return (
            f"--min-count {spec.min_count} leaves no word of {spec.source}: the most frequent one "
            f"occurs {most_frequent:,} times in the train titles"
        )
    titles = list(itertools.islice(_first_titles(rows), 1_000))
    return f"nothing is left of the titles of {spec.source} after cleaning: " + advise(
        titles, spec.cleaning
    )


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
    unknown = dict.fromkeys(PARTS, 0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ArrayWriter(folder / f"{name}.{kind}.npy", dtype))
            for name in PARTS
        }
        for chosen, lengths, values in blocks:
            if final_ids is not None:
                values = final_ids[values]
            part_of_value = np.repeat(parts[chosen], lengths)
            for name, part in PARTS.items():
                selected = values[part_of_value == part]
                writers[name].append(selected)
                unknown[name] += int((selected == UNKNOWN_ID).sum())
        return {name: unknown[name] / max(writers[name].num_rows, 1) for name in PARTS}


def _describe(rows: Collection, parts: NDArray[np.int8], vocabulary: Vocabulary) -> dict[str, Any]:
    """Count near-duplicates, empty titles and sizes."""
    used = parts != LEFT_OUT
    groups, lengths = rows.column("groups"), rows.column("lengths")
    ordered = np.sort(groups[used])
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))
    sizes = np.diff(np.flatnonzero(is_first))
    in_train = np.sort(groups[parts == TRAIN])
    held_out = groups[parts > TRAIN]
    places = np.searchsorted(in_train, np.sort(held_out)).clip(max=len(in_train) - 1)
    num_leaked = int((in_train[places] == np.sort(held_out)).sum())
    return {
        "splits": {name: int((parts == part).sum()) for name, part in PARTS.items()},
        "near_duplicate_groups": int((sizes > 1).sum()),
        "near_duplicate_rows": int(sizes[sizes > 1].sum()),
        "held_out_rows_also_in_train": num_leaked,
        "vocabulary_size": len(vocabulary.words),
        "stemmer": vocabulary.stemmer.language if vocabulary.stemmer else NONE,
        "titles_without_tokens": int((lengths[used] == 0).sum()),
        "mean_tokens": float(lengths[used].mean()),
    }
