"""Toy workers on a Ray cluster: ``ray_driver.py OPTIONS_JSON``, the options of toy_worker.py."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import optuna
from toy_worker import DEFAULTS, work

from search.display.progress import make_progress
from search.errors import SearchError
from search.storage.opening import open_storage
from search.workers.ray_fleet import Failure, RayFleet, connect
from search.workers.watch import StudyWatch


def run_toy(options: dict[str, Any]) -> Failure | None:
    status = work(options)
    return Failure("the toy failed", exit_status=status) if status else None


def main() -> int:
    options = DEFAULTS | json.loads(sys.argv[1])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    connect(options["address"], options["url"])
    storage = open_storage(options["url"])
    study = optuna.load_study(study_name=options["study"], storage=storage)
    with make_progress(quiet=False, json_lines=True) as progress:
        fleet = RayFleet(
            options["workers"],
            work=partial(run_toy, options),
            on_gpus=True,
            watch=StudyWatch(study, progress, max_steps=options["steps"]),
            progress=progress,
        )
        try:
            finished = fleet.run()
        except SearchError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
        finally:
            storage.close()
    return 0 if finished else 130


if __name__ == "__main__":
    raise SystemExit(main())
