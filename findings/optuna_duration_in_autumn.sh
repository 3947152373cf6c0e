#!/usr/bin/env bash
# FrozenTrial.duration is negative for a trial that runs over the end of summer time.
#
# Guess: Optuna 5 stores times in UTC, so a duration is right whatever the clock on the wall does.
# Seen (Optuna 5.0.0): the columns are UTC, but a trial read from the database has naive local times
# without "fold". In Europe/Madrid a trial from 00:30 to 01:10 UTC on 25 October 2026 starts at
# 02:30 and completes at 02:10: its duration is -20 minutes instead of 40.
# Why it matters: the trial of that night makes sums of cost too small, sorts before those that
# it followed, and breaks code that takes a duration for positive. The columns themselves are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 tzdata==2026.3
cat >"$folder/check.py" <<'PYTHON'
import sqlite3
import sys
from datetime import timedelta

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)
file = f"{sys.argv[1]}/study.db"
study = optuna.create_study(storage=f"sqlite:///{file}")
study.optimize(lambda trial: 0.0, n_trials=1)
times = ("2026-10-25 00:30:00.000000", "2026-10-25 01:10:00.000000")
with sqlite3.connect(file) as connection:  # what a run in that night writes: UTC
    connection.execute("UPDATE trials SET datetime_start = ?, datetime_complete = ?", times)
(trial,) = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{file}").trials
print("optuna", optuna.__version__)
print("from", trial.datetime_start, "to", trial.datetime_complete, "takes", trial.duration)
assert (trial.datetime_start.fold, trial.datetime_complete.fold) == (0, 0)
assert trial.duration == timedelta(minutes=-20)
PYTHON
TZ=Europe/Madrid "$folder/venv/bin/python" "$folder/check.py" "$folder"
