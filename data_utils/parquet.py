"""Parquet files, by row groups; only the columns that are asked for are read."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data_utils.errors import DataError, one_line
from data_utils.parsing import Block, Fields, Layout

_BLOCK_ROWS = 20_000


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns. Raises DataError if the file is damaged or not Parquet."""
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or not Parquet ({one_line(error)})") from error


def parquet_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    """The rows of the file; a row's "line" is its number. Raises DataError if it is damaged."""
    import pyarrow
    import pyarrow.parquet

    names = [name for name in layout.columns if name is not None]
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            first_row, num_rows = 1, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=names):
                columns = {name: batch.column(name).to_pylist() for name in names}
                blank: list[Any] = [None] * batch.num_rows
                rows: Iterable[Fields] = zip(
                    *(blank if name is None else columns[name] for name in layout.columns),
                    strict=True,
                )
                yield Block(list(rows), first_row, (first_row + batch.num_rows) / num_rows)
                first_row += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or cut short ({one_line(error)})") from error


def parquet_values(path: Path, name: str) -> Iterator[Any]:
    """The values of one column, row by row. Raises DataError if the file is damaged."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=[name]):
                yield from batch.column(0).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or cut short ({one_line(error)})") from error
