"""Worker processes with a toy objective: ``toy_worker.py OPTIONS_JSON``.

The process forks ``workers`` children, to import everything once, and prints their ids. Each child
logs what it does as JSON lines in ``folder``, where the checkpoints are as well.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from search.errors import SearchError
from search.storage.budget import set_budget
from search.storage.opening import open_storage
from search.tracking.client import Tracker
from search.workers.loop import Attempt, Interrupted, run_worker

DEFAULTS: dict[str, Any] = {
    "study": "toy",
    "workers": 1,
    "steps": 5,
    "step_seconds": 0.02,
    "seed": 1,
    "heartbeat": 1.0,
    "grace": 3.0,
    "outage": 120.0,
    "n_trials": None,  # None: the study has its budget already
    "create": False,
    "prune": False,
    "fail": False,
    "tracking_uri": None,  # None: nothing goes to MLflow
    "hang_at": None,  # step at which the first attempt at trial 0 never returns
}


class Toy:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.folder = Path(options["folder"])
        self.log = self.folder / f"log-{os.getpid()}.jsonl"
        self.tracker = Tracker(
            options["tracking_uri"], study_name=options["study"], spool_dir=self.folder
        )

    def say(self, event: str, **values: Any) -> None:
        with open(self.log, "a") as log:
            log.write(
                json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **values})
                + "\n"
            )

    def checkpoint_step(self, root: int) -> int:
        file = self.folder / f"checkpoint-{root}"
        return int(file.read_text()) if file.exists() else 0

    def __call__(self, attempt: Attempt) -> float:
        x = attempt.suggest(lambda trial: trial.suggest_float("x", 0.0, 1.0))
        number, root = attempt.trial.number, attempt.root
        self.say("start", number=number, root=root, resume=attempt.resume_step, x=x)
        self.tracker.trial_started(root, number, params={"x": x})
        for step in range(attempt.resume_step + 1, self.options["steps"] + 1):
            time.sleep(self.options["step_seconds"])
            self.say("step", number=number, root=root, step=step)
            if self.options["fail"]:
                raise ValueError("a faulty objective")
            if step == self.options["hang_at"] and number == 0:
                time.sleep(10_000)
            self.tracker.evaluated(root, step, {"reported": x * step})
            attempt.report(x * step, step)
            if self.options["prune"] and attempt.should_prune():
                raise optuna.TrialPruned
            part = self.folder / f"part-{os.getpid()}"
            part.write_text(str(step))
            os.replace(part, self.folder / f"checkpoint-{root}")
            if attempt.should_stop():
                raise Interrupted
        return x * self.options["steps"]

    def ended(self, attempt: Attempt, state: TrialState) -> None:
        number, root = attempt.trial.number, attempt.root
        self.say("end", number=number, root=root, state=state.name)
        if state != TrialState.RUNNING:  # another worker's
            ended = attempt.trial.storage.get_trial(attempt.trial._trial_id)
            self.tracker.trial_finished(root, number, state=state.name, value=ended.value)


def work(options: dict[str, Any]) -> int:
    toy = Toy(options)
    try:
        storage = open_storage(
            options["url"],
            heartbeat_seconds=options["heartbeat"],
            grace_seconds=options["grace"],
            outage_seconds=options["outage"],
        )
        if options["create"]:
            study = optuna.create_study(
                study_name=options["study"],
                storage=storage,
                direction="maximize",
                load_if_exists=True,
            )
            set_budget(storage, study._study_id, n_trials=options["n_trials"])
        toy.tracker.open()
        try:
            result = run_worker(
                options["study"],
                storage,
                toy,
                make_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
                seed=options["seed"],
                checkpoint_step=toy.checkpoint_step,
                on_end=toy.ended,
                on_wait=lambda verdict: toy.say("wait", verdict=verdict.name),
            )
        finally:
            toy.tracker.close()
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    toy.say("result", verdict=result.verdict and result.verdict.name)
    return 0


def main() -> int:
    options = DEFAULTS | json.loads(sys.argv[1])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.basicConfig(level=logging.INFO)
    children = []
    for _ in range(options["workers"]):
        child = os.fork()
        if child == 0:
            errors = os.open(f"{options['folder']}/stderr-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
            os.dup2(errors, 2)
            code = 70
            try:
                code = work(options)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    print(json.dumps(children), flush=True)
    for child in children:
        _, status = os.waitpid(child, 0)
        print(json.dumps([child, os.waitstatus_to_exitcode(status)]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
