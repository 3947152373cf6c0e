"""The output folder: what stands where."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from search.errors import SearchError
from search.names import is_utf8

# Where commands write and look unless they are told.
DEFAULT_OUT = Path("runs")

# File systems take names of 255 bytes, and what writes a file adds to its name while it does.
_MOST_BYTES = 80
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"(.*-)?[0-9a-f]{16}")


def file_name(text: str) -> str:
    """The name of the file, or the folder, that belongs to a study, a key or a model called this.

    It is one element of a path and never ``.`` or ``..``, at most 80 bytes long, and differs for
    different texts. A plain text is its own name; any other keeps what can be kept of it, for
    people, and gets a digest.
    """
    if _PLAIN.fullmatch(text) and not _DIGEST.fullmatch(text) and len(text) <= _MOST_BYTES:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    words = re.sub(r"[^\w.-]+", "-", text).strip(".-")
    start = words.encode()[: _MOST_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{start}-{digest}" if start else digest


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file, for SQLAlchemy and for MLflow.

    A path with ``%`` or ``?`` is percent-encoded from the element that has it, with the slashes
    behind: MLflow makes the folder before the URL's last slash, and does not decode its name.
    """
    text = str(path)
    odd = re.search(r"[%?]", text)
    start = len(text) if odd is None else text.rfind("/", 0, odd.start()) + 1
    return f"sqlite:///{text[:start]}{quote(text[start:], safe='', errors='surrogatepass')}"


def sqlite_path(url: str) -> Path | None:
    """The file that a URL of SQLite names; None for another URL."""
    scheme, separator, rest = url.partition(":///")
    if not separator or scheme.partition("+")[0] != "sqlite":
        return None
    return Path(unquote(rest.partition("?")[0]))


@dataclass(frozen=True)
class OutputFolder:
    """Everything that a search writes is under ``root``."""

    root: Path

    def create(self) -> None:
        """Make the folder and see that it can be written, before any work is done.

        Raises:
            SearchError: It cannot.
        """
        if not is_utf8(self.root):
            raise SearchError(
                f"the name of the output folder, {str(self.root)!r}, is not UTF-8: give another "
                "with --out FOLDER"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise SearchError(
                f"the output folder {self.root} cannot be written ({error.strerror}); "
                "give another with --out FOLDER"
            ) from None

    @property
    def storage_url(self) -> str:
        return sqlite_url(self.root / "optuna.db")

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def tracking_events(self) -> Path:
        return self.root / "tracking"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def dashboard_artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def exports(self) -> Path:
        return self.root / "exports"


def check_writable(path: Path) -> None:
    """Make the folder of a file that is to be written, and see that it can be, before any work.

    Raises:
        SearchError: It cannot, or ``path`` is a folder.
    """
    if path.is_dir():
        raise SearchError(f"{path} is a folder; give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Write a file as ``replace_text`` does, in a folder that is made if need be.

    Raises:
        SearchError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise _unwritable(path, error) from None


def replace_text(path: Path, text: str) -> None:
    """Write a file under another name, then rename it: it is there whole, or not at all.

    Raises:
        OSError: It cannot be written.
    """
    # A name that nobody can have put a link under.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> SearchError:
    return SearchError(f"{path} cannot be written ({error.strerror}); give another place")
