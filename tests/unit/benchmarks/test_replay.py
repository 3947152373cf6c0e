"""Pruners replayed on learning curves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from optuna.pruners import NopPruner

from benchmarks.curves import Curve, Curves
from benchmarks.pruning import CHECK_POINTS, CHECK_STEPS_SAVED, SEARCHES
from benchmarks.replay import replay, savings
from search.options import DEFAULT_PRUNER
from search.strategies import PRUNERS

RECORDED = Path(__file__).parents[2] / "data"


# The curves by which the default was chosen: docs/pruning.md.
@pytest.fixture(
    scope="module",
    params=["mlp-sat-segment", "mlp-sat-20000", "cnn-sat-20000", "mlp-unspsc-20000"],
)
def recorded(request: pytest.FixtureRequest) -> Curves:
    return Curves.load(RECORDED / f"curves-{request.param}.json")


def rising(top: float, *, steps: int = 20) -> Curve:
    values = [top * step / steps for step in range(1, steps + 1)]
    return Curve({}, values, [float(step) for step in range(1, steps + 1)])


CURVES = [rising(top / 30) for top in range(1, 28)]


def test_without_a_pruner_every_curve_is_paid_for_whole() -> None:
    found = replay(CURVES, NopPruner(), seed=0)
    assert (found.steps, found.seconds, found.pruned) == (27 * 20, 27 * 20.0, 0)
    assert found.best == pytest.approx(27 / 30)
    assert found.kept_winner and found.first_pruned_step is None


@pytest.mark.parametrize("name", sorted(set(PRUNERS) - {"none"}))
def test_a_pruner_keeps_the_winner_of_curves_that_never_cross(name: str) -> None:
    found = replay(CURVES, PRUNERS[name](20), seed=0)
    assert found.kept_winner and found.best == pytest.approx(27 / 30)


@pytest.mark.parametrize("name", sorted(set(PRUNERS) - {"none"}))
def test_a_stopped_curve_is_paid_for_up_to_its_stop(name: str) -> None:
    found = replay(CURVES, PRUNERS[name](20), seed=1)
    assert found.pruned > 0
    assert found.seconds == found.steps < 27 * 20  # a second a step
    assert found.steps >= 27 * (found.first_pruned_step or 0)


def test_the_same_order_is_replayed_alike() -> None:
    first, second = (replay(CURVES, PRUNERS["asha"](20), seed=3) for _ in range(2))
    assert first == second


def test_savings_are_shares_of_the_search_without_a_pruner() -> None:
    found = savings(CURVES, NopPruner, searches=2)
    assert (found.time_saved, found.steps_saved, found.lost_points) == (0.0, 0.0, 0.0)
    assert found.winner_survives == 1.0


def test_each_search_draws_its_own_curves() -> None:
    found = savings(CURVES, NopPruner, searches=20, trials=3)
    assert found.lost_points == 0.0  # of the curves drawn, not of all


def test_the_default_halves_recorded_evaluations_and_loses_next_to_nothing(
    recorded: Curves,
) -> None:
    found = savings(
        recorded.curves, lambda: PRUNERS[DEFAULT_PRUNER](recorded.max_steps), searches=SEARCHES
    )
    assert found.steps_saved >= CHECK_STEPS_SAVED
    assert found.lost_points <= CHECK_POINTS


def test_the_default_stops_nothing_before_its_first_rung(recorded: Curves) -> None:
    found = savings(
        recorded.curves, partial(PRUNERS[DEFAULT_PRUNER], recorded.max_steps), searches=3
    )
    assert found.first_pruned_step == recorded.max_steps // 5
