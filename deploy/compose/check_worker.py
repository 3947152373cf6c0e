"""Health of the worker in this container: exit status 0, or 1 and one line.

Unhealthy: the database does not answer, or the trial that this worker runs has given no sign of
life for as long as makes other workers take it away. A worker without a trial, one that prepares
data or waits for the last trials of others, is healthy when the database answers.
"""

from __future__ import annotations

import socket
import sys

import psycopg

# The grace of search.storage.opening.open_storage.
GRACE_SECONDS = 60
# A worker's name is HOST:PROCESS.
QUERY = """
    SELECT min(trials.number), max(clock_timestamp() AT TIME ZONE 'UTC' - beats.heartbeat)
    FROM trials
    JOIN trial_heartbeats AS beats USING (trial_id)
    JOIN trial_user_attributes AS attributes USING (trial_id)
    WHERE trials.state = 'RUNNING' AND attributes.key = 'worker'
      AND starts_with(attributes.value_json, %(host)s)
      AND beats.heartbeat < clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => %(grace)s)
"""


def main() -> None:
    try:
        with psycopg.connect(connect_timeout=5) as connection:
            parameters = {"host": f'"{socket.gethostname()}:', "grace": GRACE_SECONDS}
            row = connection.execute(QUERY, parameters).fetchone()
    except psycopg.Error as error:
        sys.exit(f"no answer from the database: {str(error).splitlines()[0]}")
    if row is not None and row[0] is not None:
        sys.exit(f"trial {row[0]} has given no sign of life for {row[1]}")


if __name__ == "__main__":
    main()
