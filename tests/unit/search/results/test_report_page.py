"""The report of a real study whose titles and categories are as nasty as anybody's may be."""

from __future__ import annotations

import csv
import html
import random
import re
from html.parser import HTMLParser

import pytest

import studies
from data_utils import DataSpec
from search.display.progress import Progress
from search.errors import SearchError
from search.options import SearchOptions
from search.results.opened import open_existing
from search.results.report.categories import categories_of_best
from search.results.report.writing import ReportOptions, write_report
from search.run import run_search

SCRIPT = "<script>alert('%s')</script> | *oferta* `x`"  # as a title
NASTY = '<b onclick="x()">COSAS</b> | _varias_ [a](http://x.example)'
WORDS = {
    "KITCHEN": "olla sartén cuchillo taza plato cuchara horno mesa".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo pie led".split(),
}
CATEGORIES = [NASTY, *WORDS]
VOID = {"meta", "use"}


@pytest.fixture(scope="session")
def nasty_csv(tmp_path_factory):
    rng = random.Random(1)
    rows = {}
    while len(rows) < 360:
        label = CATEGORIES[len(rows) % 3]
        # The words of one of the others: nobody can tell these titles.
        words = WORDS[rng.choice(list(WORDS)) if label == NASTY else label]
        words = " ".join([*rng.sample(words, 3), f"xx{rng.randrange(99)}yy"])
        rows.setdefault(SCRIPT % words, label)
    path = tmp_path_factory.mktemp("nasty") / "nasty.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["title", "category"], *rows.items()])
    return path


@pytest.fixture(scope="session")
def searched(nasty_csv):
    """The output folder of a search with the four baselines and two other trials."""
    out = nasty_csv.parent / "runs"
    options = SearchOptions(
        model="mlp",
        n_trials=6,
        timeout_seconds=None,
        study_name="nasty",
        storage_url=None,
        sampler="tpe",
        pruner="asha",
        max_epochs=2,
        seed=0,
        data=DataSpec(source=str(nasty_csv)),
        vectors=None,
        embedding_dim=8,
        num_workers=1,
        device="cpu",
        out=out,
        tracking_uri=None,
        quiet=True,
        json=False,
    )
    assert run_search(options) == 0
    return out


def opened(out):
    return open_existing("nasty", None, out=out, device="cpu", progress=Progress())


def report(out, *arguments):
    """The text that the command writes."""
    target = out / "report.txt"
    assert studies.main(["report", "--out", str(out), "--to", str(target), *arguments]) == 0
    return target.read_text("utf-8")


@pytest.fixture(scope="session")
def page(searched):
    return report(searched, "--top", "2", "--seeds", "2")


@pytest.fixture(scope="session")
def markdown(searched, page):
    return report(searched, "--top", "2", "--seeds", "2", "--format", "md")


class Reader(HTMLParser):
    """The elements and texts of a page; fails where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_one_well_formed_file_that_loads_and_runs_nothing(page):
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(reader.tags)
    links = [text for name, text in reader.attributes if name in ("href", "src", "xlink:href")]
    assert links and all(link.startswith("#") for link in links)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "@import" not in page and not re.search(r"url\((?!#)", page)


def test_no_two_elements_of_the_page_share_an_id_and_every_link_finds_its_own(page):
    attributes = Reader(page).attributes
    ids = [text for name, text in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {text[1:] for name, text in attributes if name in ("href", "xlink:href")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", page))
    assert wanted <= set(ids)


def test_charts_take_their_colours_from_the_page_and_have_a_text(page):
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", page)
    charts = re.findall(r"<svg [^>]*>", page)
    assert len(charts) > 8
    assert all('role="img"' in chart and 'aria-label="' in chart for chart in charts)


def test_the_page_names_the_best_trial_and_its_value(page, searched):
    best = opened(searched).best
    text = "".join(Reader(page).text)
    assert f"a balanced accuracy of {best.value:.4f} on validation" in text
    assert f"best value, trial {best.number}" in text


def test_every_trial_stands_in_the_page_with_its_value(page, searched):
    table = page[page.index('id="trials"') :]
    for trial in opened(searched).trials:
        row = rf'<th scope="row">{trial.number}</th><td>{trial.state.name}</td>'
        assert re.search(rf'{row}<td class="n">{trial.value:.4f}</td>', table)


def test_baselines_are_marked_by_name(page):
    for name in ("dropout 0.3 batch 128 frozen", "dropout 0.3 batch 256 unfrozen"):
        assert f'<span class="tag baseline">baseline: {name}</span>' in page


def test_titles_and_categories_with_markup_are_shown_as_they_are(page):
    assert "<script" not in page and "<b onclick" not in page
    assert NASTY in html.unescape(page)
    assert "<script>alert(" in html.unescape(page)


def test_markdown_says_what_titles_say_and_keeps_its_tables(markdown):
    assert "<script" not in markdown and "<b" not in markdown
    assert "&lt;b onclick" in markdown and r"\_varias\_" in markdown
    assert r"\*oferta\* \`x\`" in markdown
    tables = re.findall(r"(?:^\|.*\|$\n)+", markdown, flags=re.M)
    assert len(tables) >= 9
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_the_leaders_and_the_best_baseline_are_trained_with_new_seeds_once(searched, page):
    study = opened(searched)
    wanted = {*(trial.number for trial in study.leaders[:2])}
    wanted.add(next(t.number for t in study.leaders if "baseline" in t.user_attrs))
    stored = {name for name in study.study.user_attrs if name.startswith("repeat:")}
    assert stored == {f"repeat:{number}:{seed}" for number in wanted for seed in (1, 2)}


def test_a_second_report_reads_the_repeats_of_the_first(searched, page, capsys):
    again = report(searched, "--top", "2", "--seeds", "2")
    assert "again, with seed" not in capsys.readouterr().err
    tables = [
        re.search(r'aria-label="Leaderboard".*?</table>', text, re.S) for text in (again, page)
    ]
    assert tables[0][0] == tables[1][0]


def test_without_seeds_nothing_is_trained_and_the_page_says_so(searched, page, capsys):
    text = report(searched, "--top", "6", "--seeds", "0")
    assert "again" not in capsys.readouterr().err
    assert 'id="categories"' not in text
    assert ">–</td>" in text


def test_the_best_trained_again_repeats_its_stored_figures_on_the_validation_titles(searched):
    study = opened(searched)
    found = categories_of_best(study)
    assert found.exact
    assert found.accuracy == pytest.approx(study.best.user_attrs["accuracy"], abs=1e-12)
    assert found.balanced_accuracy == pytest.approx(study.best.value, abs=1e-12)
    assert sum(category.titles for category in found.all) == len(study.inputs.prepared.validation)


def test_confusions_count_the_wrong_answers_and_quote_titles_of_their_category(searched):
    study = opened(searched)
    found = categories_of_best(study)
    titles = study.inputs.prepared.validation
    labels = study.inputs.prepared.labels
    of = {titles.text(i): labels[titles.labels[i]] for i in range(len(titles))}
    assert found.confusions
    assert all(of[title] == c.truth for c in found.confusions for title in c.examples)
    wrong = round((1 - found.accuracy) * found.titles)
    assert sum(confusion.count for confusion in found.confusions) == wrong


def test_the_report_goes_by_the_study_into_the_output_folder(searched, page, capsys):
    assert studies.main(["report", "--out", str(searched), "--seeds", "0", "--format", "md"]) == 0
    target = searched / "reports" / "nasty.md"
    assert capsys.readouterr().out == f"{target}\n"
    assert target.read_text("utf-8").startswith("# nasty\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--study", "gone"], "error: there is no study 'gone'; studies in "),
        (["--seeds", "-1"], "error: --seeds is -1; "),
        (["--top", "0"], "error: --top is 0; "),
        (["--to", "{out}"], "error: {out} is a folder; "),
        (
            ["--to", "{out}/optuna.db/report.html"],
            "error: {out}/optuna.db/report.html cannot be written ",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(searched, capsys, arguments, line):
    arguments = [argument.format(out=searched) for argument in arguments]
    assert studies.main(["report", "--out", str(searched), *arguments]) == 2
    found = capsys.readouterr().err.splitlines()
    assert [one for one in found if one.startswith("error: ")] == found[-1:]
    assert found[-1].startswith(line.format(out=searched))


def test_a_report_that_cannot_be_written_trains_nothing(searched, page):
    options = ReportOptions(
        study_name="nasty",
        storage_url=None,
        out=searched,
        target=searched / "optuna.db" / "report.html",
        format="html",
        seeds=5,
        top=1,
    )
    before = opened(searched).study.user_attrs
    with pytest.raises(SearchError):
        write_report(options)
    assert opened(searched).study.user_attrs == before
