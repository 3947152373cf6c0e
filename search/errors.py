"""What can go wrong in a search.

    SearchError              the user can do something about it; ``str`` is one clear line
    ├── StudyDeleted         the study that was meant is not there any more
    ├── StorageError         wrong URL, refused password, foreign or out-of-date database
    │   ├── StorageLost      the storage was out of reach for longer than the worker waits
    │   └── DatabaseError    what the database refused; in ``storage.outages``, as Optuna's, too
    └── PoisonedStudy        too many trials failed
    SearchSpaceExhausted     every configuration of a discrete space has been tried
    OverLimit                the network is over a limit of the study
    Interrupted              the objective stopped because it was asked to
    Cancelled                a user ended the trial
    Fenced                   the trial was given to another worker

The last five end a trial and never reach the user.
"""

from __future__ import annotations

from collections.abc import Sequence


class SearchError(Exception):
    """An error of the search that its user can act on."""

    #: Of the command: 2 where another command line is needed, 1 where the same may do later.
    exit_status = 2


class StudyDeleted(SearchError):
    """The study was deleted; there may be another of its name, or with its id."""

    def __init__(self, line: str = "") -> None:
        super().__init__(
            line
            or "the study was deleted: start it anew with its own command, or name another with "
            "--study NAME"
        )


class StorageError(SearchError):
    """The storage cannot be used as asked."""


class StorageLost(StorageError):
    """The storage could not be reached for as long as the worker waits for it.

    Attributes:
        reason: In the driver's own words.
    """

    exit_status = 1

    def __init__(self, line: str, *, reason: str = "") -> None:
        super().__init__(line)
        self.reason = reason


class PoisonedStudy(SearchError):
    """So many trials failed that going on would be a waste."""

    exit_status = 1


class SearchSpaceExhausted(Exception):
    """No configuration is left that has not been tried."""


class OverLimit(Exception):
    """Raised by an objective: the trial ends PRUNED, untrained.

    Attributes:
        values: What the untrained network was found to reach, in the order of the objectives.
    """

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.values = list(values)


class Interrupted(Exception):
    """Raised by an objective after ``Attempt.should_stop``, once its checkpoint is saved."""


class Cancelled(Exception):
    """Raised by ``Attempt.should_stop``: a user ended the trial, and no checkpoint is needed."""


class Fenced(Exception):
    """The trial no longer belongs to this worker: nothing may be written for it."""
