"""``--set`` and ``--from`` as a user types them."""

from __future__ import annotations

import json

import optuna
import pytest

import studies
from search.configurations import parse_settings

ONE = (
    "hidden_sizes=64 dropout=0.2 freeze_embeddings=no pooling=mean batch_size=128 "
    "learning_rate=0.01 weight_decay=0.1 class_weight_power=0 logit_adjustment=1"
).split()


def test_one_configuration_is_run_and_another_study_starts_from_it(command, small, tmp_path):
    settings = [part for text in ONE for part in ("--set", text)]
    done = command(*small, *settings)
    assert done.returncode == 0, done.stderr
    storage = f"sqlite:///{tmp_path}/runs/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    assert name.startswith("mlp-titles-set-") and name in done.stdout
    (trial,) = optuna.load_study(study_name=name, storage=storage).trials
    assert trial.params == parse_settings(ONE, "mlp", 2)

    other = command(*small, "--model", "cnn", "--from", name, "--trials", "1", "--json")
    assert other.returncode == 0, other.stderr
    told = [json.loads(line) for line in other.stdout.splitlines()]
    assert any(f"starts from {name}" in event.get("text", "") for event in told)
    (first,) = optuna.load_study(study_name="cnn-titles", storage=storage).trials
    shared = {key: value for key, value in trial.params.items() if key != "pooling"}
    assert {key: first.params[key] for key in shared} == shared
    assert set(first.params) - set(trial.params) == {
        "num_filters",
        "filter_lengths",
        "num_epochs",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "dropuot=0.3"], "did you mean dropout?"),
        (["--set", "dropout=0.9"], "0.0 to 0.7"),
        (["--set", "dropout"], "NAME=VALUE"),
        (["--sampler", "grid", "--set", "num_layers=2"], "hidden_size_1"),
        (["--from", "older"], "no studies"),
        (["--from", "older", "--from-top", "0"], "--from-top is 0"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    arguments, told, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert studies.main(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert told in line
    assert list(tmp_path.iterdir()) == []
