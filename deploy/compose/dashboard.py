"""Optuna's dashboard as a WSGI application: ``gunicorn 'dashboard:app()'``.

Its own command keeps connections that died with a restart of the database, and answers the next
requests with errors (optuna-dashboard 0.21). Here each connection is tried before it is used.
"""

from __future__ import annotations

import os

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi


def app():
    engine = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    storage = RDBStorage(os.environ["STORAGE_URL"], engine, skip_table_creation=True)
    # Pictures of the best trials; workers write them to the volume that they share.
    return wsgi(storage, artifact_store=FileSystemArtifactStore("/runs/artifacts"))
