"""The output folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from search.errors import SearchError
from search.folders import OutputFolder, file_name, sqlite_path, sqlite_url, write_text
from search.results.finding import find_storage
from search.storage.opening import open_storage


def test_the_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = OutputFolder(tmp_path / "a" / "b")
    folder.create()
    assert list(folder.root.iterdir()) == []


def test_a_folder_that_is_there_is_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    OutputFolder(tmp_path).create()
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_file_in_its_place_is_refused_in_one_line(tmp_path):
    file = tmp_path / "runs"
    file.write_text("no folder")
    for root in (file, file / "below"):
        with pytest.raises(SearchError, match=r"runs.*cannot be written.*--out FOLDER") as caught:
            OutputFolder(root).create()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SearchError, match="cannot be written"):
        OutputFolder(tmp_path).create()
    tmp_path.chmod(0o700)


def test_its_storage_can_be_opened(tmp_path):
    folder = OutputFolder(tmp_path / "with space")
    folder.create()
    open_storage(folder.storage_url).close()
    assert (folder.root / "optuna.db").is_file()


def test_everything_is_under_the_root_and_apart(tmp_path):
    folder = OutputFolder(tmp_path)
    places = [folder.cache, folder.checkpoints, folder.tracking_events, folder.artifacts]
    assert len(set(places)) == 4
    assert all(place.parent == tmp_path for place in places)


@pytest.mark.parametrize("name", ["mlp-titles", "cnn-sat-segment", "v1.2_b", "0" * 32, "A"])
def test_a_plain_name_is_its_own_file_name(name):
    assert file_name(name) == name


ODD_NAMES = [
    "",
    ".",
    "..",
    "../b",
    "a/b",
    "a b",
    "a-b",
    "a'b",
    ".b",
    "b\0",
    "b\n",
    "\udce9",
    "%2F",
]
LONG_NAMES = ["x" * 300, "x" * 301, "ñ" * 200, "题" * 200, "题" * 201, "题" * 27, "😀" * 100]


def test_any_name_is_one_short_element_of_a_path(tmp_path):
    for name in ODD_NAMES + LONG_NAMES:
        path = tmp_path / file_name(name)
        path.mkdir()
        assert path.resolve().parent == tmp_path.resolve()
        assert len(os.fsencode(path.name)) <= 80


def test_different_names_have_different_files():
    names = ODD_NAMES + LONG_NAMES
    # What the file of another is called is a name like others.
    names += [file_name(name) for name in names if file_name(name) != name]
    assert len({file_name(name).casefold() for name in names}) == len(names)


def test_a_file_name_says_whose_it_is():
    assert file_name("año nuevo").startswith("año-nuevo-")


PATHS = ["/a/optuna.db", "runs/o.db", "/a/feature%2Fx/o.db", "q?x/o.db", "/m#1/ñ {b}/50%/a b.db"]


@pytest.mark.parametrize("path", PATHS)
def test_a_url_of_sqlite_names_its_path_to_whoever_decodes_it(path):
    url = sqlite_url(Path(path))
    assert make_url(url).database == path
    assert sqlite_path(url) == Path(path)
    # MLflow makes this folder.
    assert "%" not in url.removeprefix("sqlite:///").rpartition("/")[0]


def test_a_url_of_a_plain_path_is_the_path():
    assert sqlite_url(Path("/a b/m#1/ñ.db")) == "sqlite:////a b/m#1/ñ.db"


@pytest.mark.parametrize("url", ["postgresql://u@h/db", "grpc://h:1", "sqlite", "http://h/a.db"])
def test_other_urls_name_no_path(url):
    assert sqlite_path(url) is None


@pytest.mark.parametrize("name", ["feature%2Fx", "q?x", "m#1", "a{b}", "50%"])
def test_the_storage_of_a_folder_of_any_name_is_in_it(tmp_path, name):
    folder = OutputFolder(tmp_path / name)
    folder.create()
    open_storage(folder.storage_url).close()
    assert (tmp_path / name / "optuna.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    find_storage(None, out=folder.root).close()


def test_a_folder_whose_name_is_not_utf8_is_refused_in_one_line(tmp_path):
    folder = OutputFolder(tmp_path / "caf\udce9")
    with pytest.raises(SearchError, match="not UTF-8.*--out FOLDER") as caught:
        folder.create()
    assert str(caught.value).encode().isascii()
    with pytest.raises(SearchError, match="not UTF-8"):
        open_storage(folder.storage_url)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_through_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / f".page.html.{os.getpid()}").symlink_to(victim)
    (tmp_path / "page.html").symlink_to(victim)
    write_text(tmp_path / "page.html", "new")
    assert victim.read_text() == "keep"
    assert (tmp_path / "page.html").read_text() == "new"
    assert not (tmp_path / "page.html").is_symlink()


def test_a_file_that_cannot_be_written_leaves_nothing_half(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(SearchError, match=r"page\.html cannot be written"):
        write_text(tmp_path / "page.html", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
