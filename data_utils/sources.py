"""What a source is: its files, their form, its columns; and its rows, block by block."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_utils import sat
from data_utils.columns import check_column, json_names
from data_utils.csv_header import HEAD_BYTES, read_header
from data_utils.errors import DataError
from data_utils.file_digest import FileState, file_state
from data_utils.parquet import parquet_blocks, parquet_columns
from data_utils.readers import cut_blocks, open_decompressed, reading
from data_utils.records import Block, Layout
from data_utils.spec import DataSpec
from data_utils.splits import TEST, TRAIN, VALIDATION

_COURSE_FILE = re.compile(r"(.+)\.(train|validation|test)\.jsonl(?:\.(?:gz|bz2|xz))?")
_COURSE_SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
_COMPRESSIONS = (".gz", ".bz2", ".xz")
_JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_DEFAULT_COLUMNS = ("title", "category")


@dataclass(frozen=True)
class Part:
    """One file of a source, and the split that the source gives it (None: it gives none).

    ``state`` tells whether it is still the same; ``is_new`` says that earlier versions took
    another place for the end of its header.
    """

    path: Path
    split: int | None
    layout: Layout
    state: FileState
    skip_bytes: int = 0
    first_line: int = 1
    is_new: bool = False

    def blocks(self) -> Iterator[Block]:
        """The rows of the file in order. Raises DataError if the file is damaged."""
        if self.layout.kind == "rows":
            return parquet_blocks(self.path, self.layout)
        return cut_blocks(
            self.path, self.layout, skip_bytes=self.skip_bytes, first_line=self.first_line
        )


class _Catalogue(Part):
    """The embedded catalogue as a part."""

    def blocks(self) -> Iterator[Block]:
        first_line = 1
        for rows in sat.read_catalogue(str(self.layout.columns[1])):
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

    def check_unchanged(self) -> None:
        """Raise DataError if a file is another than when the source was opened."""
        for part in self.parts:
            with reading(part.path):
                if file_state(part.path) == part.state:
                    continue
            raise DataError(
                f"{part.path} changed while it was read: try again when it is complete"
            )


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
    path = sat.catalogue_path()
    part = _Catalogue(path=path, split=None, layout=layout, state=file_state(path))
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
    with reading(path):
        state = file_state(path)
    with open_decompressed(path) as (stream, file):
        head = stream.read(HEAD_BYTES)
        is_all = not stream.peek(1)
        compressed = stream is not file
    if head.startswith(b"PAR1") or suffix in _PARQUET_SUFFIXES:
        if compressed:
            raise DataError(f"{path} is Parquet inside another compression: unpack it first")
        names = parquet_columns(path)
        return Part(path, None, _layout(path, spec, names, kind="rows"), state)
    if suffix in _JSON_SUFFIXES or (suffix not in (".csv", ".tsv") and head.lstrip()[:1] == b"{"):
        names = _json_columns(path, head, _wanted(spec))
        return Part(path, None, _layout(path, spec, names, kind="json"), state)
    text, label, *_ = _wanted(spec)
    header = read_header(
        path, head, (text, label), tabs_first=suffix in (".tsv", ".tab"), is_all=is_all
    )
    layout = replace(
        _layout(path, spec, list(header.names), kind="csv", doubt=header.doubt),
        header=header.names,
        delimiter=header.delimiter,
        skip_spaces=header.skip_spaces,
        quotes=header.quotes,
    )
    return Part(
        path,
        None,
        layout,
        state,
        skip_bytes=header.size,
        first_line=header.num_lines + 1,
        is_new=header.has_returns,
    )


def _wanted(spec: DataSpec) -> list[str]:
    """The names of the columns that are read: title, label, and those that choose rows."""
    given = (spec.text_column, spec.label_column)
    names = [
        usual if name is None else name
        for name, usual in zip(given, _DEFAULT_COLUMNS, strict=True)
    ]
    return names + [
        name for name in ("language", "label_quality") if getattr(spec, name) is not None
    ]


def _json_columns(path: Path, head: bytes, wanted: Sequence[str]) -> list[str]:
    """The fields of the first objects, and those of ``wanted`` that stand further down."""
    names = json_names(path, head)
    later = [name for name in wanted if name not in names]
    return names + [name for name in later if _holds_key(path, name)]


def _holds_key(path: Path, name: str) -> bool:
    """Whether a JSON key of this name seems to be anywhere in the file."""
    keys = {
        json.dumps(name, ensure_ascii=ascii).encode("utf-8", "replace") for ascii in (True, False)
    }
    overlap = max(map(len, keys))
    rest = b""
    with open_decompressed(path) as (stream, _):
        while block := stream.read(HEAD_BYTES):
            rest += block
            if any(key in rest for key in keys):
                return True
            rest = rest[-overlap:]
    return False


def _layout(
    path: Path, spec: DataSpec, names: Sequence[str], *, kind: str, doubt: str = ""
) -> Layout:
    """Check that the columns asked for are there. Raises DataError naming those that are."""
    text, label, *_ = _wanted(spec)
    for name, option in ((text, "--text-column"), (label, "--label-column")):
        check_column(path, names, name, advice=doubt or f"choose with {option}")
    if text == label:
        raise DataError(f"--text-column and --label-column are both {text!r}: choose two columns")
    for name, value in (("language", spec.language), ("label_quality", spec.label_quality)):
        if value is not None:
            check_column(path, names, name, purpose=f" to choose {value!r} from")
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
