"""Titles made for measurements of size."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.titles import long_tail, stretches_of_the_catalogue, write_titles

REAL = {
    "fruit": ["red apple", "green apple from Chile", "ripe pear"],
    "tools": ["claw hammer", "steel screwdriver 6 mm"],
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_as_many_rows_are_written_as_asked_for(tmp_path: Path) -> None:
    write_titles(tmp_path / "titles.csv", 500, REAL)
    assert len(rows(tmp_path / "titles.csv")) == 500


def test_every_category_has_titles_of_its_own_words(tmp_path: Path) -> None:
    write_titles(tmp_path / "titles.csv", 200, REAL)
    words = {name: set(" ".join(titles).split()) for name, titles in REAL.items()}
    found = rows(tmp_path / "titles.csv")
    assert {row["category"] for row in found} == set(REAL)
    for row in found:
        title = row["title"].split()
        assert title
        assert len(set(title) - words[row["category"]]) <= 1  # an invented word


def test_shares_and_invented_words_are_as_asked_for(tmp_path: Path) -> None:
    write_titles(tmp_path / "a.csv", 1000, REAL, shares=[0.9, 0.1], invented=1.0)
    found = rows(tmp_path / "a.csv")
    assert 850 < sum(row["category"] == "fruit" for row in found) < 950
    assert len({row["title"].split()[-1] for row in found}) > 950


def test_the_catalogue_is_cut_into_as_many_categories_as_asked_for() -> None:
    parts = stretches_of_the_catalogue(632)
    assert len(parts) == 632
    assert {len(titles) for titles in parts.values()} == {83, 84}
    shares = long_tail(632)
    assert sum(shares) == pytest.approx(1)
    assert 0.09 < shares[0] < 0.11 and 70 < 3_000_000 * shares[-1] < 80


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_titles(tmp_path / name, 100, REAL, seed=4)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_too_few_titles_for_the_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few for 2 categories"):
        write_titles(tmp_path / "titles.csv", 3, REAL)
    assert not any(tmp_path.glob("*.csv"))
