#!/usr/bin/env bash
# One trial without parameters takes all parameters off optuna-dashboard's page until it restarts.
#
# Guess: the intersection of the search spaces is over trials that have a search space. Optuna's own
# IntersectionSearchSpace leaves waiting trials out.
# Seen (optuna-dashboard 0.21.0, Optuna 5.0.0): if the page of a study is read while a trial waits
# in the queue (study.enqueue_trial), "intersection_search_space" is empty. It stays empty after
# that trial has run with all parameters, as the server remembers it; a new server lists them.
# Why it matters: whoever enqueues good starts, and opens the dashboard early, finds no parameter in
# parallel coordinates and takes the study for broken.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  optuna==5.0.0 optuna-dashboard==0.21.0
cat >"$folder/check.py" <<'PYTHON'
import io
import json
import sys

import optuna
import optuna_dashboard

optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = optuna.storages.RDBStorage(f"sqlite:///{sys.argv[1]}/study.db")


def parameters(app):
    """What the page of study 1 is told of parameters that all trials have."""
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/studies/1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    body = b"".join(app(environment, lambda *_: None))
    return [space["name"] for space in json.loads(body)["intersection_search_space"]]


def objective(trial):
    return trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)


print("optuna", optuna.__version__, "optuna-dashboard", optuna_dashboard.__version__)
study = optuna.create_study(storage=storage)
study.optimize(objective, n_trials=3)
study.enqueue_trial({"x": 0.5})
early = optuna_dashboard.wsgi(storage)
seen = {"while a trial waits": parameters(early)}
study.optimize(objective, n_trials=3)
seen["after it has run"] = parameters(early)
seen["by a new server"] = parameters(optuna_dashboard.wsgi(storage))
for moment, names in seen.items():
    print(f"{moment:20} {names}")
assert [trial.params.keys() for trial in study.trials] == [{"x": 0, "y": 0}.keys()] * 6
assert list(map(len, seen.values())) == [0, 0, 2]
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/check.py" "$folder"
