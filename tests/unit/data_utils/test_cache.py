import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from data_utils import DataError
from data_utils.cache import MANIFEST, build_once, find_damage


def _build(folder):
    (folder / "a.txt").write_text("hello")
    (folder / "b.bin").write_bytes(bytes(100_000))


def test_a_folder_is_built_once_and_verified(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        _build(folder)

    for _ in range(3):
        folder = build_once(tmp_path / "deep" / "down" / "x", build)
    assert len(calls) == 1
    assert find_damage(folder) is None
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a.txt").write_text("hallo"),
        lambda folder: (folder / "a.txt").unlink(),
        lambda folder: os.truncate(folder / "b.bin", 99_999),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text("[1]"),
        lambda folder: (folder / MANIFEST).unlink(),
    ],
)
def test_a_damaged_folder_is_reported_once_and_rebuilt(tmp_path, damage):
    folder = build_once(tmp_path / "x", _build)
    damage(folder)
    messages = []
    build_once(folder, _build, progress=lambda message, _: messages.append(message))
    assert [("damaged" in message, str(folder) in message) for message in messages] == [
        (True, True)
    ]
    assert find_damage(folder) is None
    assert (folder / "a.txt").read_text() == "hello"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, DataError("no")])
def test_whatever_stops_a_build_leaves_nothing(tmp_path, error):
    def build(folder):
        _build(folder)
        raise error

    with pytest.raises(BaseException) as caught:
        build_once(tmp_path / "cache" / "x", build)
    assert caught.value is error or caught.type is error
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failed_build_can_be_tried_again(tmp_path):
    def fail(folder):
        raise DataError("no")

    with pytest.raises(DataError):
        build_once(tmp_path / "x", fail)
    assert find_damage(build_once(tmp_path / "x", _build)) is None


def test_a_folder_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write prepared data") as caught:
        build_once(tmp_path / "file" / "x", _build)
    assert "\n" not in str(caught.value)


def _run(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


_SLOW_BUILD = """
import sys, time
from pathlib import Path
from data_utils.cache import build_once
def build(folder):
    (folder / "a.txt").write_text("x" * 100)
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
build_once(Path(sys.argv[1]), build)
"""


def test_processes_that_ask_at_once_build_once(tmp_path):
    processes = [_run(_SLOW_BUILD, tmp_path / "c" / "x", 0.5) for _ in range(4)]
    output = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert "".join(output).count("building") == 1
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["x"]


def test_threads_that_ask_at_once_build_once(tmp_path):
    calls = []

    def build(folder):
        calls.append(1)
        _build(folder)
        time.sleep(0.1)

    threads = [threading.Thread(target=build_once, args=(tmp_path / "x", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize("again", ["x", "y"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, again):
    process = _run(_SLOW_BUILD, tmp_path / "x", 60)
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(tmp_path.iterdir())) == 2  # its lock file and its folder
    build_once(tmp_path / again, _build)
    assert [path.name for path in tmp_path.iterdir()] == [again]


def test_a_build_that_goes_on_elsewhere_is_not_taken_for_a_dead_one(tmp_path):
    process = _run(_SLOW_BUILD, tmp_path / "x", 1)
    process.stdout.readline()
    build_once(tmp_path / "y", _build)
    process.communicate()
    assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x", "y"}


def test_ctrl_c_leaves_nothing(tmp_path):
    process = _run(_SLOW_BUILD, tmp_path / "x", 60)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        with pytest.raises(DataError, match="no space left") as caught:
            build_once(disk / "x", lambda folder: (folder / "a").write_bytes(bytes(1 << 20)))
        assert "\n" not in str(caught.value)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
