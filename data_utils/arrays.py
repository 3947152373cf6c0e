"""Arrays on disk: streamed out as .npy files, mapped in.

Nothing here writes through a memory map or ``ndarray.tofile``: on a full disk the first kills
the process (SIGBUS) and the second hides the errno.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray


class ArrayWriter:
    """Write an .npy file row block by row block; its length is known only at the end.

    ``row_shape`` is the shape of one row: ``()`` for a flat array, ``(dim,)`` for a matrix.
    Raises OSError with its errno (ENOSPC, EFBIG, ...) from ``append`` and ``close``.
    """

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._file = path.open("wb")
        self.num_rows = 0
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows of shape (n, *row_shape)."""
        block = np.ascontiguousarray(rows, dtype=self._dtype)
        if block.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {self._row_shape} expected, got {block.shape[1:]}")
        if block.size:
            self._file.write(block.reshape(-1).view(np.uint8).data)
        self.num_rows += len(block)

    def close(self) -> None:
        """Write the final length into the header and close the file."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header so that a growing first axis never changes its length.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self.num_rows, *self._row_shape),
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self._file.close()
        except OSError:
            pass  # flushing the rest fails for the reason that is already being raised


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a whole array as .npy."""
    with ArrayWriter(path, array.dtype, array.shape[1:]) as writer:
        writer.append(array)


def load_array(path: Path) -> NDArray[Any]:
    """Map an .npy file, copy-on-write: torch.from_numpy takes it without a warning."""
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array
