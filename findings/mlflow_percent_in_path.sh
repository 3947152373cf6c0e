#!/usr/bin/env bash
# mlflow.pyfunc.load_model decodes %XX in a plain local path.
#
# Guess: what save_model(path) wrote, load_model(path) reads; only URIs are percent-decoded.
# Seen (MLflow 3.17.2): a folder named "feature%2Fx" (as CI servers name workspaces of branches) is
# written, and load_model of the same string raises "No such artifact: 'feature/x'"; "50%25off" is
# looked for as "50%off". Blanks and a "%" that no two hex digits follow are read as they stand.
# Why it matters: a model that was registered from such a folder cannot be served, and the error
# names a path that nobody gave.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cat >"$folder/check.py" <<'PYTHON'
import logging
import sys
from pathlib import Path

import mlflow

logging.getLogger("mlflow").setLevel(logging.ERROR)


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input


def saved_and_loaded(name):
    path = str(Path(sys.argv[1]) / name)
    mlflow.pyfunc.save_model(path, python_model=Echo(), pip_requirements=[])
    assert (Path(path) / "MLmodel").is_file()
    try:
        mlflow.pyfunc.load_model(path)
    except mlflow.exceptions.MlflowException as error:
        return str(error)
    return "loaded"


print("mlflow", mlflow.__version__)
outcomes = {name: saved_and_loaded(name) for name in ("plain", "a b", "100%", "feature%2Fx", "50%25off")}
for name, outcome in outcomes.items():
    print(f"{name:12} {outcome}")
assert all(outcomes[name] == "loaded" for name in ("plain", "a b", "100%"))
assert outcomes["feature%2Fx"] == "No such artifact: 'feature/x'"
assert outcomes["50%25off"] == "No such artifact: '50%off'"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/check.py" "$folder"
