"""SQLite's file on what several machines may see."""

from __future__ import annotations

import logging
import subprocess
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from search.errors import StorageError
from search.storage.budget import set_budget
from search.storage.opening import open_storage
from search.storage.processes import this_process
from search.storage.shared_files import file_system_of, refuse_shared, warn_of_network
from search.storage.trial_queue import claim

# As /proc/self/mountinfo has them.
MOUNTS = r"""21 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 21 0:30 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 0:31 / /home/local rw - xfs /dev/sdb rw
32 21 0:32 / /home/local/my\040data rw - fuse.sshfs host:/data rw
33 21 0:33 / /work rw - ext4 /dev/sdc rw
34 33 0:34 / /work rw master:7 - 9p share rw"""


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/etc/study.db", "ext4"),
        ("/home/me/runs/study.db", "nfs4"),
        ("/homes/study.db", "ext4"),
        ("/home/local/study.db", "xfs"),
        ("/home/local/my data/study.db", "fuse.sshfs"),
        ("/work/study.db", "9p"),
    ],
)
def test_a_file_system_is_that_of_the_deepest_and_last_mount(file, kind):
    assert file_system_of(Path(file), MOUNTS) == kind


def test_the_file_system_of_a_file_is_known_here(tmp_path):
    for folder in (tmp_path, Path("/dev/shm")):
        asked = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)]
        said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
        assert file_system_of(folder.resolve() / "study.db") == said[-1]


def _on(kind, folder):
    return f"1 1 0:1 / / rw - ext4 root rw\n2 1 0:2 / {folder} rw - {kind} share rw\n"


@pytest.fixture
def of_process(tmp_path):
    """A study whose one trial was just claimed by the given process."""

    def make(process):
        with closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
            study = optuna.create_study(storage=storage)
            set_budget(storage, study._study_id, n_trials=1)
            claim(storage, study._study_id, token="t", worker="w", process=process)
        return tmp_path / "study.db"

    return make


ELSEWHERE = "another-boot another-host pid:[4026531836] 7 1234"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "virtiofs", "fuse.unknown"])
def test_a_file_with_a_worker_of_another_machine_is_refused(of_process, tmp_path, kind):
    file = of_process(ELSEWHERE)
    with pytest.raises(
        StorageError, match="a worker of another machine is at this file"
    ) as caught:
        refuse_shared(file, grace_seconds=60, mounts=_on(kind, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_worker_of_this_machine_or_one_that_is_gone_is_no_other_machine(of_process, tmp_path):
    mounts = _on("nfs4", tmp_path)
    mine = this_process().split()
    file = of_process(f"{mine[0]} a-container pid:[4] 7 1234")
    refuse_shared(file, grace_seconds=60, mounts=mounts)
    file.unlink()
    refuse_shared(of_process(None), grace_seconds=60, mounts=mounts)
    file.unlink()
    file = of_process(ELSEWHERE)
    with closing(open_storage(f"sqlite:///{file}")) as storage:  # silent for longer than the grace
        old = text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-61 seconds')")
        storage.transaction(lambda session, _: session.execute(old))
    refuse_shared(file, grace_seconds=60, mounts=mounts)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "tmpfs"])
def test_a_disk_of_ones_own_after_a_restart_is_no_other_machine(of_process, tmp_path, kind):
    refuse_shared(of_process(ELSEWHERE), grace_seconds=60, mounts=_on(kind, tmp_path))


@pytest.mark.parametrize(
    ("kind", "is_said"), [("nfs4", True), ("fuse.sshfs", True), ("9p", False), ("ext4", False)]
)
def test_a_network_file_system_is_said_and_no_containers_own(tmp_path, caplog, kind, is_said):
    caplog.set_level(logging.WARNING)
    warn_of_network(tmp_path / "new.db", _on(kind, tmp_path))
    assert (f"network file system ({kind})" in caplog.text) == is_said
