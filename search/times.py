"""When trials began and ended: moments that can be compared, whatever clocks are put back.

Optuna hands out naive local times. At the end of summer time they show one hour twice, and only
``fold``, which ``search.storage.reading`` sets, tells the second from the first. Naive times are
compared and subtracted without it, so nothing here is naive.
"""

from __future__ import annotations

from datetime import UTC, datetime

from optuna.trial import FrozenTrial


def local_time(utc: datetime) -> datetime:
    """Of naive UTC, as databases have it, the naive local time with its ``fold``."""
    aware = utc.replace(tzinfo=UTC)
    # By whole seconds: those that a float holds exactly.
    second = datetime.fromtimestamp(aware.replace(microsecond=0).timestamp())
    return second.replace(microsecond=utc.microsecond)


def started(trial: FrozenTrial) -> datetime | None:
    """When the trial began, with its offset from UTC; None if it has not."""
    return _aware(trial.datetime_start)


def ended(trial: FrozenTrial) -> datetime | None:
    """When the trial ended, with its offset from UTC; None if it has not."""
    return _aware(trial.datetime_complete)


def seconds_of(trial: FrozenTrial) -> float | None:
    """From the trial's start to its end; None if it has not come to both."""
    start, end = started(trial), ended(trial)
    return None if start is None or end is None else (end - start).total_seconds()


def _aware(local: datetime | None) -> datetime | None:
    return None if local is None else local.astimezone()
