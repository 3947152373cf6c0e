"""What studies of any name write under one output folder, two of one name among them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from dataclasses import replace

import optuna
import pytest

import studies
from search.display.progress import Progress
from search.results.copying import read_study, write_study
from search.results.export import ExportOptions, run_export
from search.results.informe import _path
from search.results.opened import open_existing
from search.results.report.writing import ReportOptions, bring_up_to_date, write_report
from search.run import run_search
from search.storage.opening import open_database
from search.study import KEY_ATTR

NAME = "shop"


@pytest.fixture(scope="module")
def options(tmp_path_factory, titles_csv):
    """Two trials of a study in a database of its own; the output folder is another."""
    from data_utils import DataSpec
    from search.options import SearchOptions

    folder = tmp_path_factory.mktemp("names")
    options = SearchOptions(
        model="mlp",
        n_trials=2,
        timeout_seconds=None,
        study_name=NAME,
        storage_url=f"sqlite:///{folder}/first.db",
        sampler="random",
        pruner="none",
        max_epochs=1,
        seed=0,
        data=DataSpec(source=str(titles_csv)),
        vectors=None,
        embedding_dim=8,
        num_workers=1,
        device="cpu",
        out=folder / "runs",
        tracking_uri="http://127.0.0.1:9",
        quiet=True,
        json=False,
    )
    assert run_search(options) == 0
    return options


@pytest.fixture
def urls(options, tmp_path):
    """The databases of the study, and of a copy under its own name."""
    with (
        contextlib.closing(open_database(options.storage_url)) as source,
        contextlib.closing(open_database(f"sqlite:///{tmp_path}/second.db")) as target,
    ):
        write_study(read_study(source, NAME), target)
    return [options.storage_url, f"sqlite:///{tmp_path}/second.db"]


@pytest.fixture
def named(options, tmp_path):
    """Put the study into a database under another name; the URL."""

    def copy(name):
        url = f"sqlite:///{tmp_path}/named.db"
        with (
            contextlib.closing(open_database(options.storage_url)) as source,
            contextlib.closing(open_database(url)) as target,
        ):
            rows = read_study(source, NAME, "possible")
            write_study(replace(rows, name=name), target)
        return url

    return copy


def opened(name, url, out):
    return open_existing(name, url, out=out, device="cpu", progress=Progress())


def key_of(url):
    with contextlib.closing(open_database(url)) as storage:
        return optuna.load_study(study_name=NAME, storage=storage).user_attrs[KEY_ATTR]


def report(name, url, out, form="html"):
    return write_report(
        ReportOptions(
            study_name=name, storage_url=url, out=out, target=None, format=form, seeds=0, top=1
        )
    )


@pytest.mark.parametrize("form", ["html", "md"])
def test_of_two_studies_of_one_name_each_has_its_own_report(urls, tmp_path, form):
    out = tmp_path / "runs"
    pages = [report(NAME, url, out, form) for url in urls]
    assert [page.name for page in pages] == [f"{NAME}.{form}", f"{NAME}-{key_of(urls[1])}.{form}"]
    again = [report(NAME, url, out, form) for url in urls]
    assert again == pages
    for page, url in zip(pages, urls, strict=True):
        assert key_of(url) in page.read_text("utf-8")


def test_the_page_at_the_end_of_a_search_is_not_that_of_the_other_study(urls, tmp_path):
    out = tmp_path / "runs"
    first, second = (bring_up_to_date(opened(NAME, url, out)) for url in urls)
    assert first != second
    written = [page.stat().st_mtime_ns for page in (first, second)]
    for page, url in zip((first, second), urls, strict=True):
        assert bring_up_to_date(opened(NAME, url, out)) == page
    assert [page.stat().st_mtime_ns for page in (first, second)] == written


def test_a_report_of_an_earlier_version_is_renewed_by_the_study_that_it_is_about(urls, tmp_path):
    out = tmp_path / "runs"
    page = report(NAME, urls[0], out)
    old = re.sub(
        r'<meta name="study-key".*\n| of the study with the key \w+', "", page.read_text()
    )
    page.write_text(old)
    os.utime(page, (time.time() + 60,) * 2)
    assert bring_up_to_date(opened(NAME, urls[1], out)) != page
    assert page.read_text() == old
    assert bring_up_to_date(opened(NAME, urls[0], out)) == page
    assert key_of(urls[0]) in page.read_text()


@pytest.mark.parametrize("name", ["..", ".", "", "../esc", "a/b", "p q", "题" * 80])
def test_reports_and_exports_stay_in_their_folders(named, options, tmp_path, name):
    url, out = named(name), tmp_path / "deep" / "er" / "runs"
    page = report(name, url, out)
    assert page.resolve().parent == (out / "reports").resolve()
    found = opened(name, url, out)
    measured = _path(found, found.trials[0], 0)
    assert measured.resolve().parent.parent == (out / "informe").resolve()


def test_reports_of_names_that_look_alike_are_files_apart(named, tmp_path):
    names = ["p q", "p/q", "p-q", "p'q"]
    pages = {report(name, named(name), tmp_path / "runs") for name in names}
    assert len(pages) == len(names)


def test_an_export_stays_in_its_folder_and_its_command_can_be_pasted(named, tmp_path, capsys):
    url, out = named("../esc <b>"), tmp_path / "runs"
    export = ExportOptions(
        study_name="../esc <b>",
        storage_url=url,
        out=out,
        top=1,
        trial=None,
        seeds=1,
        to=None,
        register=None,
        tracking_uri=None,
        device="cpu",
        quiet=True,
    )
    run_export(export)
    command = capsys.readouterr().out.splitlines()[-1].strip()
    assert [path.name for path in out.iterdir() if path.name == "exports"] == ["exports"]
    (folder,) = (out / "exports").iterdir()
    assert not (tmp_path / "esc <b>").exists()
    words = shlex.split(command)
    assert words[words.index("--model") + 1] == str(folder)
    assert studies.main(words[2:]) == 0
