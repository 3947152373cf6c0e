"""The output folder."""

from __future__ import annotations

import os

import pytest

from search.errors import SearchError
from search.folders import OutputFolder, file_name
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
