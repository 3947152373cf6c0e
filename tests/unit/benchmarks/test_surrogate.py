"""Tasks that foretell the learning curve of a configuration from recorded ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import surrogate
from benchmarks.curves import Curve, Curves


def recorded(name: str, values: list[object]) -> Curves:
    """One curve for each of the values of a parameter; they rise to 0.0, 0.1, 0.2, ..."""
    curves = [Curve({name: value}, [0.05 * i, 0.1 * i], [1, 2]) for i, value in enumerate(values)]
    return Curves("mlp", "made", 2, curves)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pooling", ["mean", "sqrtn"]),
        ("freeze_embeddings", [False, True]),
        ("learning_rate", [0.001, 0.01]),
        ("filter_lengths", ["2,3,4", "4,6,7"]),
    ],
)
def test_a_recorded_configuration_gets_its_own_curve(name, values):
    task = surrogate.RecordedTask(recorded(name, values))
    for index, value in enumerate(values):
        assert task.curve({name: value}) == pytest.approx([0.05 * index, 0.1 * index])


def test_curves_without_configurations_are_passed_over(tmp_path, monkeypatch, capsys):
    (tmp_path / "bench").mkdir()
    stored = Path(__file__).parents[2] / "data" / "curves-cnn-sat-20000.json"
    (tmp_path / "bench" / stored.name).symlink_to(stored)
    monkeypatch.setattr(sys, "argv", ["surrogate", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        surrogate.main()
    assert ended.value.code == 0
    assert "no curves" in "".join(capsys.readouterr())
