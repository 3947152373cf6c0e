"""Each trial of a worker trained twice: in the service, then by the bare training loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from search.display.progress import Progress
from search.inputs import TrainingData
from search.spaces import SEARCH_SPACES, Task


@dataclass(frozen=True)
class Pair:
    """A trial trained twice: its evaluations, seconds of the bare loop and what was added to them.

    ``added_cpu`` is that of the training thread, which other work on the machine leaves alone.
    """

    steps: int
    bare: float
    added: float
    added_cpu: float


class Pairs(Progress):
    """A display that, told of a trial's end, trains the trial again without the service."""

    def __init__(self, model: str, data: TrainingData, task: Task) -> None:
        super().__init__()
        self._suggest, self._data, self._task = SEARCH_SPACES[model], data, task
        self._params: Mapping[str, Any] = {}
        self._step = 0
        self._since = time.perf_counter()
        self._cpu_since = time.thread_time()
        self.found: list[Pair] = []

    def trial_started(self, number: int, params: Mapping[str, Any]) -> None:
        self._params, self._step = dict(params), 0

    def evaluated(self, number: int, step: int, *args: Any, **facts: Any) -> None:
        self._step = step

    def study_state(self, **facts: Any) -> None:
        served = time.perf_counter() - self._since
        served_cpu = time.thread_time() - self._cpu_since
        started, cpu_started = time.perf_counter(), time.thread_time()
        trial = optuna.trial.FixedTrial(dict(self._params))
        for evaluation in self._data.trainer(self._suggest(trial, self._task)).run():
            if evaluation.step == self._step:
                break
        bare, bare_cpu = time.perf_counter() - started, time.thread_time() - cpu_started
        self.found.append(
            Pair(self._step, bare, added=served - bare, added_cpu=served_cpu - bare_cpu)
        )
        self._since, self._cpu_since = time.perf_counter(), time.thread_time()
