from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

import search.storage
from search.storage.budget import Verdict
from search.storage.claims import Claim
from search.storage.operations import OPERATIONS
from search.storage.overrides import SearchStorage
from search.storage.proxy_codec import decode, encode


@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, 1, 0.1, float("inf"), "ñ"],
        (1, (2.5, None)),
        {TrialState.COMPLETE: 3, 7: [Verdict.WAIT]},
        {"a", "b"},
        datetime(2026, 1, 2, 3, 4, 5, 678),
        Claim(trial_id=1, number=2, configuration=3, root=4, attempt=5),
        {"x": FloatDistribution(1e-5, 0.1, log=True), "k": CategoricalDistribution((None, "a"))},
    ],
)
def test_what_operations_take_and_return_comes_back_as_it_was(value):
    back = decode(encode(value))
    assert back == value and type(back) is type(value)


def test_numbers_of_numpy_become_pythons():
    assert decode(encode({"x": np.float64(0.5), "n": np.int64(3)})) == {"x": 0.5, "n": 3}


@pytest.mark.parametrize("value", [object(), Path("x"), b"bytes", int])
def test_nothing_else_travels(value):
    with pytest.raises(TypeError, match="cannot travel"):
        encode(value)


@pytest.mark.parametrize(
    "name", ["pathlib:Path", "search.storage.overrides:SearchStorage", "search.storage.no:Such"]
)
def test_a_message_makes_no_other_objects(name):
    with pytest.raises(ValueError, match="unknown here"):
        decode(json.dumps({"kind": "record", "content": [name, {}]}).encode())


def test_everything_that_the_package_does_on_a_storage_can_be_asked_of_a_proxy():
    found = set()
    for module in pkgutil.iter_modules(search.storage.__path__):
        if module.name.startswith(("proxy", "opening", "operations")):
            continue
        loaded = importlib.import_module(f"search.storage.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if name.startswith("_") or not function.__module__.startswith("search.storage."):
                continue
            first = next(iter(inspect.signature(function).parameters.values()), None)
            if first is not None and first.annotation == SearchStorage.__name__:
                found.add(name)
    assert {"claim", "release", "write_params", "give_sign", "set_budget"} <= found
    assert found <= set(OPERATIONS)
