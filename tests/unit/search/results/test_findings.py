"""What follows from the students' figures and ours: derived, whatever the figures are."""

from __future__ import annotations

import pytest

from search.configurations import check_params, is_complete
from search.results.findings import findings
from search.results.students import experiments

FREEZING = "MLP, dropout 0.3: training the word vectors beats freezing them"
UNKNOWN = "MLP, dropout 0.7: training the word vectors beats freezing them"
DROPOUT = "MLP: dropout 0.3 beats dropout 0.7"
BATCH = "MLP, dropout 0.3: batches of 256 beat batches of 128"
FILTERS = "CNN: 100 filters of [2,3,4] beat 200 filters of [4,6,7]"
FROZEN = "Vectors frozen, dropout 0.3: the CNN beats the MLP"
BOTH = [*experiments("mlp"), *experiments("cnn")]


def found(claim, ours, done=BOTH):
    (finding,) = [one for one in findings(done, ours) if one.claim == claim]
    return finding


@pytest.mark.parametrize("epochs", [None, 1, 3, 7])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_every_experiment_is_in_the_space_and_has_a_name_of_its_own(model, epochs):
    planned = experiments(model, epochs)
    longest = max(one.epochs for one in planned)
    for one in planned:
        check_params(one.params, model, longest)
        assert is_complete(one.params, model, longest)
    assert len({one.name for one in planned}) == len(planned)


def test_the_students_grid_and_their_figures_are_complete():
    theirs = {
        (one.params["dropout"], one.params["batch_size"], one.params["freeze_embeddings"]): (
            one.theirs
        )
        for one in experiments("mlp")
    }
    assert len(theirs) == 8
    assert theirs[0.3, 256, False] == (0.904, 0.904) and theirs[0.3, 128, True] == (0.421, 0.421)
    assert {figures for key, figures in theirs.items() if key[0] == 0.7} == {(0.048, 0.315)}
    cnns = experiments("cnn")
    assert [one.epochs for one in cnns] == [3, 5, 10, 3, 5, 10]
    assert [one.theirs for one in cnns if one.theirs] == [(0.754, 0.754)]


def test_shorter_runs_have_no_figure_to_compare_with():
    assert {one.theirs for one in experiments("mlp", 4)} == {None}
    assert [one.epochs for one in experiments("cnn", 4)] == [3, 4, 3, 4]
    assert {one.theirs for one in experiments("cnn", 4)} == {None}


def test_their_differences_are_those_of_their_records():
    assert found(FREEZING, lambda one: 0.5).theirs == "+47.6 points (+47.0 to +48.1)"
    # Of dropout 0.7 they have a range for all four runs.
    assert found(UNKNOWN, lambda one: 0.5).theirs == "no figures"
    assert found(DROPOUT, lambda one: 0.5).theirs == "between +10.6 and +85.6 points"


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (0.2, "holds"),
        (0.005, "does not hold, no clear difference"),
        (-0.005, "does not hold, no clear difference"),
        (-0.2, "does not hold, the other way round"),
    ],
)
def test_a_verdict_follows_from_our_figures(difference, verdict):
    finding = found(DROPOUT, lambda one: 0.5 + difference * (one.params["dropout"] == 0.3))
    assert finding.verdict == verdict
    points = f"{100 * difference:+.1f}"
    assert finding.ours == f"{points} points ({points} to {points})"


def test_no_difference_has_no_minus():
    assert found(DROPOUT, lambda one: -0.0001 * (one.params["dropout"] == 0.3)).ours == (
        "+0.0 points (+0.0 to +0.0)"
    )


def test_pairs_that_disagree_are_counted():
    def only_frozen(one):
        return 0.2 * (one.params["dropout"] == 0.3 and one.params["freeze_embeddings"])

    def small_batches_worse(one):
        return 0.2 * (one.params["dropout"] == 0.7 and one.params.get("batch_size") == 128)

    assert found(DROPOUT, only_frozen).verdict == "holds in 2 of 4 pairs"
    assert found(DROPOUT, small_batches_worse).verdict == (
        "does not hold, the other way round in 2 of 4 pairs"
    )


def test_what_their_own_figures_leave_open_is_said_so():
    finding = found(BATCH, lambda one: 0.2 * (one.params["batch_size"] == 256))
    assert finding.theirs == "+0.8 points (+0.2 to +1.3)"
    assert finding.verdict == "not clear in their figures; here it holds"


def test_what_they_have_no_figures_of_is_new():
    finding = found(FILTERS, lambda one: 0.2 * (one.params.get("num_filters") == 100))
    assert (finding.theirs, finding.verdict) == ("no figures", "new: holds")


def test_models_are_compared_at_five_epochs():
    finding = found(FROZEN, lambda one: one.epochs / 100 if one.model == "cnn" else 0.0)
    assert finding.ours == "+5.0 points (+5.0 to +5.0)"
    assert finding.verdict == "holds"


def test_failed_experiments_only_take_their_pairs_with_them():
    done = [one for one in BOTH if one.params["freeze_embeddings"] is False]
    claims = {finding.claim for finding in findings(done, lambda one: 0.5)}
    assert claims == {DROPOUT, BATCH}
    assert findings([], lambda one: 0.5) == []
