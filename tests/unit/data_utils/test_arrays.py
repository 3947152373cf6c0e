import subprocess
import sys
import warnings

import numpy as np
import pytest

from data_utils.arrays import ArrayWriter, load_array, save_array


def test_blocks_of_rows_become_one_array(tmp_path):
    blocks = [np.arange(6).reshape(2, 3), np.zeros((0, 3)), np.arange(300).reshape(100, 3)]
    with ArrayWriter(tmp_path / "a.npy", np.float32, (3,)) as writer:
        for block in blocks:
            writer.append(block)
    assert (load_array(tmp_path / "a.npy") == np.concatenate(blocks)).all()


@pytest.mark.parametrize(
    "array", [np.arange(5), np.zeros((0, 4), np.float32), np.zeros(0, np.uint8)]
)
def test_an_array_comes_back_as_it_was_saved(tmp_path, array):
    save_array(tmp_path / "a.npy", array)
    found = load_array(tmp_path / "a.npy")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert (found == array).all()


def test_rows_of_another_shape_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="shape"),
        ArrayWriter(tmp_path / "a", "f4", (3,)) as writer,
    ):
        writer.append(np.zeros((2, 4)))


def test_torch_takes_a_mapped_array_without_a_warning(tmp_path):
    torch = pytest.importorskip("torch")
    save_array(tmp_path / "a.npy", np.arange(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.from_numpy(load_array(tmp_path / "a.npy")).sum() == 10


def test_a_write_that_does_not_fit_raises_with_its_errno(tmp_path):
    # RLIMIT_FSIZE stands in for a full disk where no file system can be mounted.
    code = f"""
import errno, resource, numpy as np
from pathlib import Path
from data_utils.arrays import save_array
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_array(Path({str(tmp_path / "a.npy")!r}), np.zeros(100_000))
except OSError as error:
    raise SystemExit(0 if error.errno == errno.EFBIG else repr(error))
raise SystemExit("nothing raised")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
