"""Parquet files, by row groups; only the columns that are asked for are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_utils.errors import DataError, one_line
from data_utils.records import Block, Fields, Layout

if TYPE_CHECKING:
    import pyarrow

_BLOCK_ROWS = 20_000


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns. Raises DataError if the file is damaged or not Parquet."""
    import pyarrow.parquet

    with _reading(path, "damaged or not Parquet"):
        return list(pyarrow.parquet.read_schema(path).names)


def parquet_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    """The rows of the file; a row's "line" is its number. Raises DataError if it is damaged.

    Text that is not UTF-8 is given as bytes.
    """
    import pyarrow.parquet

    names = [name for name in layout.columns if name is not None]
    with _reading(path), pyarrow.parquet.ParquetFile(path) as file:
        first_row, num_rows = 1, max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=names):
            columns = {name: _values(batch.column(name)) for name in names}
            blank: list[Any] = [None] * batch.num_rows
            rows: Iterable[Fields] = zip(
                *(blank if name is None else columns[name] for name in layout.columns),
                strict=True,
            )
            yield Block(list(rows), first_row, (first_row + batch.num_rows) / num_rows)
            first_row += batch.num_rows


def parquet_values(path: Path, name: str) -> Iterator[Any]:
    """The values of one column, row by row. Raises DataError if the file is damaged."""
    import pyarrow.parquet

    with _reading(path), pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=[name]):
            yield from _values(batch.column(0))


@contextmanager
def _reading(path: Path, fault: str = "damaged or cut short") -> Iterator[None]:
    """Turn what a damaged file raises into DataError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is {fault} ({one_line(error)})") from error


def _values(column: pyarrow.Array) -> list[Any]:
    """The values as Python has them; binary ones that are UTF-8, dates and times as text."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_nested(kind):  # what they hold is of no use, and may not be readable
        return [[] if is_there else None for is_there in column.is_valid().to_pylist()]
    if types.is_temporal(kind):  # Python has no years beyond 9999
        column = column.cast("string")
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        try:
            return list(column.to_pylist())
        except UnicodeDecodeError:  # pyarrow does not look at what a file calls text
            column = column.cast("large_binary")
    return [_decoded(value) if isinstance(value, bytes) else value for value in column.to_pylist()]


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value
