"""A PostgreSQL server of the tests' own, and worker processes on it or on SQLite."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from search.storage.budget import set_budget
from search.storage.opening import open_storage
from search.storage.operations import StudyStorage
from search.storage.overrides import SearchStorage
from search.storage.rows import models

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).with_name("toy_worker.py")
PASSWORD = "p4ss-word"
CATEGORIES = {
    "SHOES": "zapato bota sandalia tacón cuero suela".split(),
    "LAMPS": "lámpara bombilla foco pantalla luz techo".split(),
    "KITCHEN": "olla sartén cuchillo taza plato cuchara".split(),
}
EVERYWHERE = "nuevo oferta original grande negro blanco".split()


@pytest.fixture(scope="session")
def write_table() -> Callable[[Path], Path]:
    """Write 240 titles of 3 categories into a folder; their file."""

    def write(folder: Path) -> Path:
        rng = random.Random(5)
        rows: dict[str, str] = {}
        while len(rows) < 240:
            label = sorted(CATEGORIES)[len(rows) % 3]
            everywhere = rng.sample(EVERYWHERE, 2)
            rows.setdefault(" ".join(rng.sample(CATEGORIES[label], 3) + everywhere), label)
        path = folder / "titles.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["title", "category"], *rows.items()])
        return path

    return write


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class PostgresServer:
    """Started and stopped for real; ``stop("immediate")`` is as good as a crash."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def create(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(self._folder, self._user)
            shutil.chown(secret, self._user)
        self._run("initdb", "-A", "scram-sha-256", "-U", "tester", "--pwfile", str(secret), "-N")
        self.start()

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off "
            "-c max_connections=200"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-l", log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def become_standby(self) -> None:
        """As a primary that was demoted: it lets everybody read, and nobody write."""
        self.stop("fast")
        signal = self._data / "standby.signal"
        signal.touch()
        if self._user:
            shutil.chown(signal, self._user)
        self.start()

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-w")

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://tester:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, **defaults: str) -> str:
        """URL of an empty database whose sessions begin with these settings."""
        name = f"study_{uuid.uuid4().hex[:12]}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
            for setting, value in defaults.items():
                connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        return self.url(name)

    def connect(self, database: str) -> psycopg.Connection:
        url = self.url(database).replace("+psycopg", "")
        for _ in range(50):
            try:
                return psycopg.connect(url, autocommit=True)
            except psycopg.OperationalError:  # recovering from a crash
                time.sleep(0.1)
        return psycopg.connect(url, autocommit=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *arguments]
        environment = {**os.environ, "TZ": "UTC"}
        done = subprocess.run(
            command,
            user=self._user,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server programs in /usr/lib/postgresql/*/bin")
    # Not below pytest's folder: the server's user may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(programs, folder)
    try:
        server.create()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


class PgBouncer:
    """A pooler before the server, which gives each transaction another of its sessions."""

    def __init__(
        self, server: PostgresServer, folder: Path, *, port: int, **settings: str
    ) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))  # 0: any
            self.port = probe.getsockname()[1]
        self._server = server
        users, config = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"tester" "{PASSWORD}"\n')
        given = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": users,
            "pool_mode": "transaction",
            "default_pool_size": 4,
            **settings,
        }
        target = f"* = host=127.0.0.1 port={server.port} user=tester password={PASSWORD}"
        lines = ["[databases]", target, "[pgbouncer]", *(f"{k} = {v}" for k, v in given.items())]
        config.write_text("\n".join(lines) + "\n")
        if user := ("postgres" if os.geteuid() == 0 else None):  # as root it refuses to run
            for path in (folder, users, config):
                shutil.chown(path, user)
        self.process = subprocess.Popen(
            ["pgbouncer", str(config)],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def url(self, url: str) -> str:
        """The way to a database of the server through the pooler."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def make_pgbouncer(postgres: PostgresServer) -> Iterator[Callable[..., PgBouncer]]:
    """Start PgBouncer before the server, with these settings of its own."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("no pgbouncer: apt-get install pgbouncer")
    started: list[PgBouncer] = []
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))

    def make(port: int = 0, **settings: str) -> PgBouncer:
        started.append(PgBouncer(postgres, folder, port=port, **settings))
        until = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", started[-1].port)) == 0:
                    return started[-1]
            assert time.monotonic() < until and started[-1].process.poll() is None
            time.sleep(0.05)

    yield make
    for pgbouncer in started:
        pgbouncer.close()
    shutil.rmtree(folder, ignore_errors=True)


class Fleet:
    """Worker processes of one test, and what they logged."""

    def __init__(self, url: str, folder: Path, study_name: str = "toy") -> None:
        self.url = url
        self.folder = folder
        self.study_name = study_name
        self._groups: list[subprocess.Popen[str]] = []
        self._storage: StudyStorage | None = None

    def start(self, workers: int = 1, **options: Any) -> list[int]:
        """Start workers; returns their process ids."""
        given = {
            "url": self.url,
            "folder": str(self.folder),
            "study": self.study_name,
            "workers": workers,
            **options,
        }
        group = subprocess.Popen(
            [sys.executable, "-W", "error", str(TOY), json.dumps(given)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._groups.append(group)
        assert group.stdout is not None
        pids: list[int] = json.loads(group.stdout.readline())
        return pids

    def wait(self, seconds: float = 90.0) -> dict[int, int]:
        """Exit codes of all workers by process id."""
        codes = {}
        for group in self._groups:
            output, _ = group.communicate(timeout=seconds)
            codes |= dict(json.loads(line) for line in output.splitlines())
        self._groups = []
        return codes

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [
            json.loads(line)
            for file in self.folder.glob("log-*.jsonl")
            for line in file.read_text().splitlines()
            if line.endswith("}")
        ]
        return sorted((e for e in lines if e["event"] == kind), key=lambda e: e["time"])

    def wait_for(self, kind: str, *, count: int = 1, seconds: float = 40.0) -> None:
        until = time.monotonic() + seconds
        while len(self.events(kind)) < count:
            assert time.monotonic() < until, f"no {count} x {kind}: {self.stderr()}"
            time.sleep(0.05)

    def stderr(self, pid: int | None = None) -> str:
        return "".join(
            file.read_text() for file in self.folder.glob(f"stderr-{pid if pid else '*'}")
        )

    @property
    def storage(self) -> StudyStorage:
        self._storage = self._storage or open_storage(self.url)
        return self._storage

    def study(self) -> optuna.Study:
        return optuna.load_study(study_name=self.study_name, storage=self.storage)

    def create(self, n_trials: int | None, **budget: Any) -> optuna.Study:
        study = optuna.create_study(
            study_name=self.study_name, storage=self.storage, direction="maximize"
        )
        set_budget(self.storage, study._study_id, n_trials=n_trials, **budget)
        return study

    def lose_running(self) -> None:
        """Lose the rows of its RUNNING trial, as a standby that takes over before it has them."""
        (trial,) = self.study().get_trials(deepcopy=False, states=[TrialState.RUNNING])

        def lose(session: Session, again: bool) -> None:
            row = session.query(models.TrialModel).filter_by(trial_id=trial._trial_id)
            row.with_for_update().one()  # reports wait for it
            for table in reversed(models.BaseModel.metadata.sorted_tables):
                if "trial_id" in table.c:
                    gone = table.c.trial_id == trial._trial_id
                    session.execute(sqlalchemy.delete(table).where(gone))

        assert isinstance(self.storage, SearchStorage)
        self.storage.transaction(lose)

    def states(self) -> Counter[str]:
        return Counter(trial.state.name for trial in self.study().get_trials(deepcopy=False))

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()
        for group in self._groups:
            children = Path(f"/proc/{group.pid}/task/{group.pid}/children")
            pids = children.read_text().split() if children.exists() else []
            for pid in [*map(int, pids), group.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            group.communicate()


@pytest.fixture
def fleet(url: str, tmp_path: Path) -> Iterator[Fleet]:
    started = Fleet(url, tmp_path)
    yield started
    started.close()


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[Callable[[str], Fleet]]:
    """Fleets on storages that the test names."""
    started: list[Fleet] = []

    def make(url: str) -> Fleet:
        started.append(Fleet(url, tmp_path))
        return started[-1]

    yield make
    for fleet in started:
        fleet.close()


@pytest.fixture
def postgres_fleet(postgres: PostgresServer, tmp_path: Path) -> Iterator[Fleet]:
    started = Fleet(postgres.new_database(), tmp_path)
    yield started
    started.close()
