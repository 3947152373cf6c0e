"""What a database's error means: an outage that may pass, a server that is busy, or a refusal.

Told by the error's code. Its class says little: a driver has the same one for a lost connection
and for a table that is missing, and another one for a server that became read-only. Words are all
there is only where no connection came about: the driver then gives no code.
"""

from __future__ import annotations

import sqlite3

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc
from sqlalchemy.engine import ExceptionContext

from search.errors import StorageError

# PostgreSQL's SQLSTATE. Read-only: the server was the primary before a failover, or is to be
# spared by order of its operator.
READ_ONLY = "25006"
# By class: connection lost (PgBouncer's own errors are of it, too), transaction rolled back for
# another one's sake, no resources, operator's intervention, error of the operating system.
_OUTAGE_CLASSES = ("08", "40", "53", "57", "58")
_OUTAGES = (
    READ_ONLY,
    "25P03",  # cut off: idle in its transaction for too long
    "25P04",  # cut off: its transaction took too long
    "55006",  # object in use
    "55P03",  # lock not available
)
_SQLITE_OUTAGES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)
# A connection that was refused by a server which will soon admit it, and one that was lost.
_BUSY = (
    "too many clients",
    "remaining connection slots",
    "no more connections allowed",  # PgBouncer
    "starting up",
    "shutting down",
    "terminating connection",
    "server closed the connection",
)


class DatabaseError(StorageError, StorageInternalError):
    """What the database refused, in one line for the user; ``__cause__`` is the library's error.

    Optuna takes it for its own.
    """


def is_outage(error: BaseException) -> bool:
    """Whether waiting may help: a lost or refused connection, a lock that was not got in time."""
    cause = cause_of(error)
    if isinstance(cause, exc.PendingRollbackError):  # after a lost connection, within one call
        return True
    if isinstance(cause, exc.TimeoutError):  # of the connection pool
        return True
    if not isinstance(cause, exc.DBAPIError):
        return False
    if cause.connection_invalidated:
        return True
    if isinstance(cause.orig, sqlite3.Error):
        return getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_OUTAGES
    code = sqlstate(cause)
    if code is None:  # no connection came about
        return isinstance(cause, exc.OperationalError)
    return code in _OUTAGES or code.startswith(_OUTAGE_CLASSES)


def is_busy(error: BaseException) -> bool:
    """Whether a server is there, but has no time or room for a connection or a statement yet."""
    code = sqlstate(error)
    if code is None:
        return any(words in one_line(error) for words in _BUSY)
    return is_outage(error) and code != READ_ONLY


def leave_read_only(context: ExceptionContext) -> None:
    """Of a server that became read-only nothing more is hoped: the next try connects anew.

    A listener to SQLAlchemy's event ``handle_error``. After a failover the old primary may keep
    its connections, while the name in the URL stands for the new one.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def sqlstate(error: BaseException) -> str | None:
    """The five characters of PostgreSQL, or None: not of PostgreSQL, or never connected."""
    return getattr(getattr(cause_of(error), "orig", None), "sqlstate", None)


def one_line(error: BaseException) -> str:
    """The driver's own words, without SQL, parameters and hints."""
    cause = cause_of(error)
    original = getattr(cause, "orig", None) or cause
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    # A driver that tried several addresses repeats itself, the summary last.
    lines = [line for line in lines if not line.startswith(("- ", "Multiple", "Is the server"))]
    return lines[0] if lines else type(original).__name__


def cause_of(error: BaseException) -> BaseException:
    """What the database's library raised."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else None
    return error if cause is None else cause
