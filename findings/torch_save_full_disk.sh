#!/usr/bin/env bash
# torch.save on a disk that fills up raises RuntimeError, not OSError.
#
# Guess: whoever writes checkpoints catches OSError for a full disk, as for any other file.
# Seen (torch 2.13.0, CPU): where the write that fails is not the first, PyTorch's zip writer counts
# the bytes after the failure and raises "RuntimeError: [enforce fail at inline_container.cc …]
# . unexpected pos …". The OSError with ENOSPC is left in __context__. The same save into a file
# that takes nothing at all raises the OSError itself, so a test with a full disk may pass.
# Why it matters: "except OSError" around a checkpoint ends a training of hours for want of disk,
# and the message says nothing of a disk.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat >"$folder/check.py" <<'PYTHON'
import errno
import io

import torch


class SmallDisk(io.RawIOBase):
    """A file on a disk with room for so many bytes."""

    def __init__(self, room):
        self.room = room

    def writable(self):
        return True

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= size
        return size


def save(room):
    try:
        torch.save({"weight": torch.zeros(1_000_000)}, SmallDisk(room))
    except Exception as error:
        return type(error).__name__, type(error.__context__).__name__, str(error).splitlines()[0]
    return "saved", "", ""


print("torch", torch.__version__)
for room in (0, 1_000, 1_000_000, 10_000_000):
    print(f"room for {room:>10,} bytes:", *save(room))
assert save(0)[0] == "OSError"
assert save(1_000)[:2] == save(1_000_000)[:2] == ("RuntimeError", "OSError")
assert save(10_000_000)[0] == "saved"
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
