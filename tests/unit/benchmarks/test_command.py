"""What the benchmarks print and write."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.command import Report, options, verdict


def test_tables_and_figures_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    arguments = options("What it is.", quick="less").parse_args(
        ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "new" / "a.md")]
    )
    report = Report()
    report.content["ratio"] = 2.0
    report.table("Rates", ["way", "rate"], [["ours", "10"]])
    report.write(arguments)
    assert json.loads((tmp_path / "a.json").read_text())["ratio"] == 2.0
    assert "| ours | 10   |" in (tmp_path / "new" / "a.md").read_text()


def test_a_target_that_is_missed_is_called_so() -> None:
    assert verdict("at least 2", False, "1").startswith("FALLS SHORT: at least 2; found 1")
    assert verdict("at least 2", True, "3").startswith("holds")
