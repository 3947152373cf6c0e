"""SQLite's file where several machines may see it, which SQLite itself does not notice.

In WAL mode the processes at a file share memory, and so a machine: two machines at one file lose
each other's writes. A file system of the network is no harm by itself: workers of one machine may
use it, as those of a cluster's login node do. So it is said, and refused once another machine is
there. What containers have for their files (overlay, 9p, virtiofs, FUSE) is not spoken of.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from search.errors import StorageError
from search.storage.processes import boot_of, this_process

logger = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
# As Linux names them. FUSE's names end in the program that serves the files.
_NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|ncpfs|gfs2|ocfs2|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|gcsfuse|rclone|davfs|juicefs|mount_s3|mfs|moosefs|lizardfs)"
)
# A disk of this machine alone: who was there before it was started again is no other machine.
_LOCAL = re.compile(r"ext[234]|xfs|btrfs|zfs|f2fs|tmpfs|ramfs|overlay|jfs|bcachefs|vfat|exfat")
_RUNNING = """
    SELECT process.value_json, strftime('%s', 'now') - strftime('%s', beat.heartbeat)
    FROM trials
    JOIN trial_system_attributes process
      ON process.trial_id = trials.trial_id AND process."key" = 'process'
    JOIN trial_heartbeats beat ON beat.trial_id = trials.trial_id
    WHERE trials.state = 'RUNNING'
"""


def file_system_of(file: Path, mounts: str | None = None) -> str:
    """The kind of file system that a file lies on, as Linux names it; "" if that is not known.

    Args:
        mounts: What /proc/self/mountinfo says.
    """
    try:
        text = _MOUNTS.read_text() if mounts is None else mounts
    except OSError:  # not Linux
        return ""
    place, kind = Path("/"), ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        # Blanks and the like are written as \040.
        name = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        mount = Path(name)
        # The deepest; of several on one folder the last hides the others.
        if file.is_relative_to(mount) and mount.is_relative_to(place):
            place, kind = mount, after.split()[0]
    return kind


def warn_of_network(file: Path, mounts: str | None = None) -> None:
    """Say of a file on a network file system that its workers belong on one machine."""
    kind = file_system_of(file.resolve(), mounts)
    if _NETWORK.fullmatch(kind):
        logger.warning(
            "storage %s is on a network file system (%s): run the workers of its studies on one "
            "machine, or give them a PostgreSQL or a proxy",
            file,
            kind,
        )


def refuse_shared(file: Path, *, grace_seconds: float, mounts: str | None = None) -> None:
    """Do nothing if no worker of another machine is at a file.

    Args:
        grace_seconds: So long after its last sign of life one may still be there.
        mounts: As ``file_system_of`` takes it.

    Raises:
        StorageError: One is.
    """
    file = file.resolve()
    kind = file_system_of(file, mounts)
    if kind and not _LOCAL.fullmatch(kind) and _other_machine(file, grace_seconds):
        raise StorageError(
            f"storage {file}: a worker of another machine is at this file ({kind}), and SQLite's "
            "files are for the processes of one machine: give all workers a PostgreSQL, or run "
            "`python studies.py proxy` on that machine. If it was this machine before it was "
            "started again, try again in a minute"
        )


def _other_machine(file: Path, grace_seconds: float) -> bool:
    """Whether a process of another boot has a trial, and gave a sign of life within the grace."""
    here = boot_of(this_process())
    if here is None or not file.exists():
        return False
    try:
        with closing(
            sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60.0)
        ) as reader:
            rows = reader.execute(_RUNNING).fetchall()
    except sqlite3.DatabaseError:  # no tables yet, or what opening it will say
        return False
    boots = {
        boot_of(text.strip('"')) for text, age in rows if age is not None and age < grace_seconds
    }
    return bool(boots - {here, None, "null"})
