"""Folders that are built once, published whole and verified on opening.

A cache folder is built under a temporary name beside its place and renamed when complete, so
what stands under its name is always whole. One process builds while the others wait for its
lock. The manifest holds the size and checksum of every file; a folder that no longer agrees with
it is rebuilt. Files are not fsynced: what a power cut tears, the checksums find.
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from data_utils.errors import DataError

Progress = Callable[[str, float | None], None]
"""Called with what is being done and the fraction done (0 to 1), None where it is unknown."""

MANIFEST = "manifest.json"
_PARTIAL = ".partial"
_LOCK = ".lock"
_READ_BYTES = 1 << 20


def build_once(
    folder: Path, build: Callable[[Path], None], *, progress: Progress | None = None
) -> Path:
    """Return ``folder``, first built by ``build(temporary_folder)`` if absent or damaged.

    ``build`` writes plain files into the folder it is given, which appears under its final name
    only when ``build`` returned and everything was written. Whatever stops it (an error, a full
    disk, Ctrl-C) leaves nothing behind.

    Raises DataError when the folder cannot be written; what ``build`` raises passes through,
    except OSError, which is taken for a failure to write.
    """
    try:
        if folder.is_dir() and find_damage(folder) is None:
            return folder  # without the lock: a prepared folder may be read-only
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder, progress):
            _remove_stale(folder)
            damage = find_damage(folder) if folder.is_dir() else "absent"
            if damage is None:
                return folder  # another process built it while this one waited
            if folder.is_dir():
                if progress is not None:
                    progress(f"{folder} is damaged ({damage}): rebuilding it", None)
                shutil.rmtree(folder)
            _build(folder, build)
    except OSError as error:
        raise DataError(_describe(error, folder.parent)) from error
    return folder


def find_damage(folder: Path) -> str | None:
    """Say what differs between a folder and its manifest; None if nothing does."""
    try:
        manifest: dict[str, tuple[int, int]] = json.loads((folder / MANIFEST).read_bytes())
        expected = {name: (int(size), int(crc)) for name, (size, crc) in manifest.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return f"{MANIFEST} is missing or unreadable"
    for name, (size, _) in expected.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    try:
        checksums = _checksums(folder, list(expected))
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    for name, checksum in checksums.items():
        if checksum != expected[name][1]:
            return f"{name} does not match its checksum"
    return None


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_PARTIAL, dir=folder.parent))
    try:
        build(partial)
        names = sorted(path.name for path in partial.iterdir())
        checksums = _checksums(partial, names)
        manifest = {
            name: ((partial / name).stat().st_size, checksum)
            for name, checksum in checksums.items()
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
        partial.chmod(0o755)  # mkdtemp makes it private; the cache may be shared
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _checksums(folder: Path, names: list[str]) -> dict[str, int]:
    # zlib drops the GIL, so the files are read on two cores.
    with ThreadPoolExecutor(max_workers=2) as pool:
        checksums = pool.map(_checksum, [folder / name for name in names])
        return dict(zip(names, checksums, strict=True))


def _checksum(path: Path) -> int:
    checksum = 0
    block = bytearray(_READ_BYTES)
    view = memoryview(block)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            checksum = zlib.crc32(view[:count], checksum)
    return checksum


@contextmanager
def _lock(folder: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock of one cache folder; its file goes away with the lock."""
    path = folder.parent / f".{folder.name}{_LOCK}"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_lock(descriptor):
                if progress is not None:
                    progress("waiting for another process that prepares the same data", None)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_current(descriptor, path):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed the file: lock the new one
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_stale(folder: Path) -> None:
    """Remove what killed processes left beside a folder; the caller holds the folder's lock."""
    for path in folder.parent.glob(f".*{_PARTIAL}"):
        name = path.name[1:].rsplit(".", 2)[0]
        if name == folder.name:
            shutil.rmtree(path, ignore_errors=True)
            continue
        lock = folder.parent / f".{name}{_LOCK}"
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:  # without a lock file it is about to be published or removed
            continue
        try:
            if _try_lock(descriptor) and _is_current(descriptor, lock):
                shutil.rmtree(path, ignore_errors=True)
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _describe(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left to prepare data in {folder}: free some, or choose another folder"
    reason = error.strerror or str(error)
    return f"cannot write prepared data in {folder} ({reason}): choose a folder you can write"
