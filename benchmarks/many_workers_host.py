"""The workers of ``benchmarks.many_workers``: ``many_workers_host.py NUMBER``, STORAGE_URL set.

Prints a JSON line for each worker that came to the end of the study.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback

import grpc  # noqa: F401 - before the fork, as all that a worker imports
import optuna
from optuna.samplers import RandomSampler

from search.storage.opening import open_storage
from search.workers.loop import Attempt, run_worker

STUDY = "many-workers"
TRIAL_SECONDS = 0.05
_REPORTS = 2


class _Stub:
    """Sleeps for as long as a trial takes, and notes when."""

    def __init__(self) -> None:
        self.trials = 0
        self.began = 0.0
        self.ended = 0.0

    def __call__(self, attempt: Attempt) -> float:
        value = attempt.suggest(_suggest)
        for step in range(1, _REPORTS + 1):
            time.sleep(TRIAL_SECONDS / _REPORTS)
            attempt.report(value * step, step)
            if attempt.should_prune():
                raise optuna.TrialPruned
        return value

    def start(self, attempt: Attempt) -> None:
        self.began = self.began or time.time()

    def end(self, *_: object) -> None:
        self.trials += 1
        self.ended = time.time()


def _suggest(trial: optuna.Trial) -> float:
    trial.suggest_categorical("kind", ["a", "b"])
    trial.suggest_int("layers", 1, 4)
    trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.7)
    return trial.suggest_float("value", 0.0, 1.0)


def _work() -> int:
    stub = _Stub()
    cpu_before = time.process_time()
    run_worker(
        STUDY,
        open_storage(os.environ["STORAGE_URL"]),
        stub,
        make_sampler=lambda seed: RandomSampler(seed=seed),
        pruner=optuna.pruners.NopPruner(),
        seed=1,
        on_start=stub.start,
        on_end=stub.end,
    )
    line = json.dumps(
        {
            "trials": stub.trials,
            "began": stub.began or time.time(),
            "ended": stub.ended or time.time(),
            "cpu_seconds": time.process_time() - cpu_before,
        }
    )
    os.write(1, f"{line}\n".encode())  # at once: the workers share the pipe
    return 0


def main() -> int:
    """Fork the workers and wait for them; 1 if one failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    children = []
    for _ in range(int(sys.argv[1])):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
