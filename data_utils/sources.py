"""What a source is: its files, their form, its columns; and its rows, block by block."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data_utils import sat
from data_utils.errors import DataError, one_line
from data_utils.parquet import parquet_blocks, parquet_columns
from data_utils.parsing import Block, Layout
from data_utils.readers import cut_blocks, open_decompressed, reading
from data_utils.spec import DataSpec
from data_utils.splits import TEST, TRAIN, VALIDATION

_COURSE_FILE = re.compile(r"(.+)\.(train|validation|test)\.jsonl(?:\.(?:gz|bz2|xz))?")
_COURSE_SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
_COMPRESSIONS = (".gz", ".bz2", ".xz")
_JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Part:
    """One file of a source, and the split that the source gives it (None: it gives none)."""

    path: Path
    split: int | None
    layout: Layout
    skip_bytes: int = 0
    first_line: int = 1

    def blocks(self) -> Iterator[Block]:
        """The rows of the file in order. Raises DataError if the file is damaged."""
        if self.layout.kind == "rows":
            return parquet_blocks(self.path, self.layout)
        return cut_blocks(
            self.path,
            skip_bytes=self.skip_bytes,
            first_line=self.first_line,
            delimiter=self.layout.delimiter if self.layout.kind == "csv" else None,
        )


class _Catalogue(Part):
    """The embedded catalogue as a part."""

    def blocks(self) -> Iterator[Block]:
        first_line = 1
        for rows in sat.read_catalogue(self.layout.columns[1]):
            yield Block(rows, first_line, 1.0)
            first_line += len(rows)


@dataclass(frozen=True)
class Source:
    """A source of titles: ``name`` for people, ``digest`` of its content, its parts in order."""

    name: str
    digest: str
    parts: tuple[Part, ...]
    min_rows: int

    @property
    def is_split(self) -> bool:
        """Whether the source comes with its own train, validation and test parts."""
        return self.parts[0].split is not None


def open_source(spec: DataSpec) -> Source:
    """Find the files of a source, their form and columns, without reading their rows.

    Raises DataError if there is no such source or column, or a file is damaged or of a form that
    is not read.
    """
    if spec.source == "sat":
        return _open_catalogue(spec)
    if spec.level is not None:
        raise DataError(f"--level is for the data 'sat' alone, not for {spec.source}")
    path = Path(spec.source)
    if path.is_dir():
        if spec.split_seed:
            raise DataError(f"--split-seed: {path} comes with its own parts; leave it out")
        parts = _course_parts(path, spec)
    else:
        parts = (_open_file(path, spec),)
    return Source(
        name=source_name(spec), digest=_digest(parts), parts=parts, min_rows=spec.min_rows or 1
    )


def _open_catalogue(spec: DataSpec) -> Source:
    for option in ("text_column", "label_column", "language", "label_quality"):
        if getattr(spec, option) is not None:
            raise DataError(
                f"--{option.replace('_', '-')} cannot be chosen for the data 'sat': "
                "its columns are clave and descripcion"
            )
    level = sat.check_level(spec.level)
    layout = Layout(kind="rows", columns=("descripcion", level, None, None))
    part = _Catalogue(path=sat.catalogue_path(), split=None, layout=layout)
    return Source(
        name=source_name(spec),
        digest=f"{sat.catalogue_version()}:{_digest((part,))}",
        parts=(part,),
        min_rows=sat.DEFAULT_MIN_ROWS if spec.min_rows is None else spec.min_rows,
    )


def _course_parts(folder: Path, spec: DataSpec) -> tuple[Part, ...]:
    """The files of a course folder by language, then train, validation and test."""
    found: dict[str, dict[str, Path]] = {}
    with reading(folder):
        for path in sorted(folder.iterdir()):
            match = _COURSE_FILE.fullmatch(path.name)
            if match is not None:
                found.setdefault(match[1], {})[match[2]] = path
    if not found:
        raise DataError(
            f"{folder} holds no course data: files like spanish.train.jsonl.gz, "
            "spanish.validation.jsonl.gz and spanish.test.jsonl.gz are expected"
        )
    chosen = [prefix for prefix in found if prefix.casefold() == _folded(spec.language)]
    if chosen:
        spec = replace(spec, language=None)  # the files are of that language
    parts = []
    for prefix in chosen or found:
        for split, number in _COURSE_SPLITS.items():
            if split not in found[prefix]:
                raise DataError(
                    f"{folder} has no {split} part: {prefix}.{split}.jsonl.gz is missing "
                    f"beside {', '.join(path.name for path in found[prefix].values())}"
                )
            parts.append(replace(_open_file(found[prefix][split], spec), split=number))
    return tuple(parts)


def _open_file(path: Path, spec: DataSpec) -> Part:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    with open_decompressed(path) as (stream, file):
        head = stream.read(_HEAD_BYTES)
        compressed = stream is not file
    if head.startswith(b"PAR1") or suffix in _PARQUET_SUFFIXES:
        if compressed:
            raise DataError(f"{path} is Parquet inside another compression: unpack it first")
        return Part(path, None, _layout(path, spec, parquet_columns(path), kind="rows"))
    if suffix in _JSON_SUFFIXES or (suffix not in (".csv", ".tsv") and head.lstrip()[:1] == b"{"):
        return Part(path, None, _layout(path, spec, _json_columns(path, head), kind="json"))
    return _open_csv(path, spec, head, tabs_first=suffix in (".tsv", ".tab"))


def _open_csv(path: Path, spec: DataSpec, head: bytes, *, tabs_first: bool) -> Part:
    """Read the header; the delimiter is the one under which it has the columns, or most."""
    lines = io.StringIO(head.decode("utf-8", "replace"), newline="")
    best: tuple[tuple[bool, int], str, list[str], int] | None = None
    for delimiter in "\t,;|" if tabs_first else ",\t;|":
        lines.seek(0)
        reader = csv.reader(lines, delimiter=delimiter)
        try:
            names = next((row for row in reader if row), [])
        except csv.Error:
            continue
        wanted = {spec.text_column or "title", spec.label_column or "category"}
        rank = (wanted <= set(names), len(names))
        if best is None or rank > best[0]:
            best = (rank, delimiter, names, reader.line_num)
    if best is None:
        raise DataError(f"{path} is no table: its first line is not a CSV header")
    _, delimiter, names, num_lines = best
    layout = _layout(path, spec, names, kind="csv")
    skip = 0
    for _ in range(num_lines):
        skip = head.find(b"\n", skip) + 1 or len(head)
    layout = replace(layout, header=tuple(names), delimiter=delimiter)
    return Part(path, None, layout, skip_bytes=skip, first_line=num_lines + 1)


def _json_columns(path: Path, head: bytes) -> list[str]:
    """The fields of the first objects; a broken line among them is counted later."""
    if head.lstrip()[:1] == b"[":
        raise DataError(f"{path} is a JSON array: JSON lines, one object a line, are expected")
    names: dict[str, None] = {}
    for line in head.split(b"\n")[:100]:
        try:
            found = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            names.update(dict.fromkeys(found))
    if not names:
        raise DataError(f"{path} is not JSON lines: none of its first lines is a JSON object")
    return list(names)


def _layout(path: Path, spec: DataSpec, names: list[str], *, kind: str) -> Layout:
    """Check that the columns asked for are there. Raises DataError naming those that are."""
    shown = ", ".join(name[:40] for name in names[:20]) + (", ..." if len(names) > 20 else "")
    text, label = spec.text_column or "title", spec.label_column or "category"
    for name, option in ((text, "--text-column"), (label, "--label-column")):
        if name not in names:
            raise DataError(
                f"{path} has no column {name!r}: it has {one_line(shown)}; choose with {option}"
            )
    if text == label:
        raise DataError(f"--text-column and --label-column are both {text!r}: choose two columns")
    for name, value in (("language", spec.language), ("label_quality", spec.label_quality)):
        if value is not None and name not in names:
            raise DataError(
                f"{path} has no column {name!r} to choose {value!r} from: it has {one_line(shown)}"
            )
    return Layout(
        kind=kind,
        columns=(
            text,
            label,
            None if spec.language is None else "language",
            None if spec.label_quality is None else "label_quality",
        ),
        language=_folded(spec.language),
        label_quality=_folded(spec.label_quality),
    )


def _folded(value: str | None) -> str | None:
    return None if value is None else value.strip().casefold()


def source_name(spec: DataSpec) -> str:
    """A short name for folders and studies: letters, digits, '-' and '_' alone."""
    if spec.source == "sat":
        return f"sat-{sat.check_level(spec.level)}"
    path = Path(spec.source)
    name = path.resolve().name
    stem = name if path.is_dir() else name.split(".")[0] or name
    return re.sub(r"[^\w-]+", "_", stem).strip("_")[:60] or "data"


def _digest(parts: tuple[Part, ...]) -> str:
    """SHA-256 of the bytes of all parts (OpenSSL's is twice as fast as BLAKE2 on most CPUs)."""
    whole = hashlib.sha256()
    for part in parts:
        with reading(part.path), part.path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
        whole.update(str(part.split).encode())
    return whole.hexdigest()
