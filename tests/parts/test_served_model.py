"""An exported model in a real MLflow: registered, loaded in a clean process, served over HTTP."""

from __future__ import annotations

import csv
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from prediction.predictor import open_predictor

ROOT = Path(__file__).resolve().parents[2]
# A name that is something else if it is taken for a part of a URL.
MODEL = "m#1 %20x?"
TITLES = ["silla grande nueva", "lámpara 💡", "", "x" * 10_000, "línea\nnueva"]
WORDS = {
    "CHAIRS": "silla sillón banco asiento taburete respaldo".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz led".split(),
}
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a study's exported model in `MODEL`, registered in `mlflow.db`."""
    folder = tmp_path_factory.mktemp("served")
    rng = random.Random(1)
    titles = {}
    while len(titles) < 200:
        label = sorted(WORDS)[len(titles) % 2]
        words = rng.sample(WORDS[label], 3) + [rng.choice(("grande", "nuevo", "negro"))]
        titles.setdefault(" ".join(words), label)
    with (folder / "titles.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("title", "category"), *titles.items()])
    common = ["--out", folder, "--tracking-uri", uri_of(folder), "--quiet"]
    search = ["--data", folder / "titles.csv", "--dim", "16", "--epochs", "3", "--trials", "1"]
    export = ["export", "--to", folder / MODEL, "--register", "shop titles", "--seeds", "1"]
    for command in (search, export):
        done = subprocess.run(
            [sys.executable, ROOT / "studies.py", *command, *common],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "Registered as shop titles version 1" in done.stdout
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def expected(exported):
    """What the folder's own command predicts of TITLES."""
    done = subprocess.run(
        [sys.executable, exported / MODEL / "predict.py", "--format", "jsonl", *TITLES],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [{"category": row["category"], "probability": row["probability"]} for row in rows]


def uri_of(folder):
    return f"sqlite:///{folder}/mlflow.db"


def same(found, expected):
    assert [row["category"] for row in found] == [row["category"] for row in expected]
    assert [row["probability"] for row in found] == pytest.approx(
        [row["probability"] for row in expected], abs=1e-6
    )


def test_the_model_stands_in_the_registry_below_the_run_of_its_study(exported):
    client = MlflowClient(uri_of(exported))
    [version] = client.search_model_versions("name = 'shop titles'")
    run = client.get_run(version.run_id)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["kind"] == "study"
    metrics = json.loads((exported / MODEL / "metrics.json").read_text())
    assert run.data.metrics["test_accuracy"] == metrics["test"]["accuracy"]
    assert run.info.status == "FINISHED"
    stored = [path.name for path in (exported / "mlartifacts").rglob("*") if path.is_file()]
    assert "weights.safetensors" in stored
    assert not [name for name in stored if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_a_clean_process_predicts_with_it_from_raw_titles(exported, expected, tmp_path):
    program = (
        "import json, sys, mlflow, pandas\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/shop titles/1')\n"
        "found = model.predict(pandas.DataFrame({'title': json.loads(sys.argv[2])}))\n"
        "titles = ['silla', None, float('nan'), pandas.NA, 5, b'silla', '']\n"
        "odd = model.predict(pandas.DataFrame({'title': titles}, index=[*range(9, 2, -1)]))\n"
        "assert odd.index.tolist() == [9, 8, 7, 6, 5, 4, 3], odd\n"
        "assert odd.iloc[1:].drop_duplicates().shape == (1, 2), odd\n"
        "assert odd.iloc[0].tolist() != odd.iloc[1].tolist(), odd\n"
        "[column] = model.metadata.signature.inputs.to_dict()\n"
        "assert (column['type'], column['required']) == ('string', False), column\n"
        "import models\n"
        "print(json.dumps([found.to_dict('records'), models.__file__]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program, uri_of(exported), json.dumps(TITLES)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, code = json.loads(done.stdout.splitlines()[-1])
    same(found, expected)
    assert not Path(code).is_relative_to(ROOT)  # the code came with the model


@pytest.fixture(scope="module")
def address(exported, tmp_path_factory):
    """A running `mlflow models serve`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    programs, tmp_path = Path(sys.executable).parent, tmp_path_factory.mktemp("serving")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
            + ["--model-uri", "models:/shop titles/1", "--port", str(port)],
            cwd=tmp_path,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": uri_of(exported),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "PATH": f"{programs}:{os.environ['PATH']}",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(900):
            try:
                urllib.request.urlopen(f"{url}/ping", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def post(url, content, *, kind="application/json"):
    request = urllib.request.Request(
        f"{url}/invocations",
        data=content if isinstance(content, bytes) else json.dumps(content).encode(),
        headers={"Content-Type": kind},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def invented_titles(seed):
    """Titles of a client's own: a word of the vocabulary, and words that nobody has seen."""
    rng = random.Random(seed)
    known = [word for words in WORDS.values() for word in words]
    new = ("".join(rng.choices("bcdfglmnaeiou", k=7)) for _ in range(10_000))
    return [f"{rng.choice(known)} {next(new)} {rng.choice(known)} {next(new)}" for _ in range(40)]


@pytest.mark.parametrize("count", [160, pytest.param(2000, marks=pytest.mark.long)])
def test_sixteen_clients_at_once_are_answered_as_one_client(address, exported, count):
    requests = [invented_titles(seed) for seed in range(count)]
    alone = open_predictor(exported / MODEL)
    expected = [
        [{"category": name, "probability": p} for [(name, p)] in alone.predict(titles)]
        for titles in requests
    ]

    def ask(titles):
        return post(address, {"inputs": {"title": titles}})["predictions"]

    with ThreadPoolExecutor(16) as clients:
        found = list(clients.map(ask, requests))
    assert len(found) == count
    for rows, answers in zip(found, expected, strict=True):
        same(rows, answers)
    same(ask(requests[0]), expected[0])  # and nothing is left damaged


def test_a_title_that_is_missing_counts_as_empty_and_no_other_is_lost(address):
    titles = ["silla grande", None, "lámpara", 5]
    empty = post(address, {"inputs": {"title": ["silla grande", "", "lámpara", ""]}})
    for content in (
        {"dataframe_records": [{"title": title} for title in titles]},
        {"dataframe_split": {"columns": ["title"], "data": [[title] for title in titles]}},
        {"inputs": {"title": titles}},
    ):
        same(post(address, content)["predictions"], empty["predictions"])
    nothing = post(address, {"dataframe_records": [{"title": None}]})["predictions"]
    same(nothing, empty["predictions"][1:2])
    table = "title,size\nsilla grande,1\n,2\nlámpara,3\n,4\n"
    same(post(address, table.encode(), kind="text/csv")["predictions"], empty["predictions"])


def test_mlflow_serves_it_over_http(address, expected):
    found = post(address, {"dataframe_records": [{"title": title} for title in TITLES]})
    same(found["predictions"], expected)
    assert post(address, {"inputs": {"title": TITLES[:1]}})["predictions"][0]["category"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(address, {"dataframe_records": [{"titulo": "silla"}]})
    assert refused.value.code == 400
    assert "the input has no column 'title'" in refused.value.read().decode()
    refused.value.close()
