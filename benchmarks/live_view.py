"""Looking at a large study while workers run it: ``status``, optuna-dashboard, and the workers.

    python -m benchmarks.live_view [--json FILE] [--markdown FILE] [--quick]

A study has 5,000 trials, on SQLite and on PostgreSQL. Timed are ``python studies.py status`` in
fresh processes, without and with its imports; the study's page of a fresh ``studies.py
dashboard``, loaded first and again, beside optuna-dashboard's own command; and what a worker's
framework takes for a trial of ten evaluations (take, sample with TPE, report, ask the pruner,
end), alone and while that dashboard is asked for news every two seconds, five times as often as
an open page asks. Nothing is trained, and nothing goes to MLflow.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

import optuna

from benchmarks.command import Report, options, verdict
from benchmarks.filled import fill
from benchmarks.live_pages import asked_again_and_again, dashboard, page, time_get
from benchmarks.postgres import running_server
from benchmarks.processes import ROOT
from benchmarks.report import Spread
from search.settings import StudySettings
from search.spaces import DEFAULT_EPOCHS, SEARCH_SPACES, SPACE_VERSIONS, Task
from search.storage.budget import set_budget
from search.storage.opening import open_database
from search.storage.trial_queue import claim
from search.strategies import PRUNERS, SAMPLERS
from search.study import open_study
from search.workers.attempt import Attempt
from search.workers.loop import run_worker

MODEL = "mlp"
NAME = "large"
EXISTING, REPORTS = 5_000, 10
TRIAL_SECONDS = 10.0
STATUS_SECONDS, DASHBOARD_SECONDS, FRAMEWORK_SECONDS, SLOWED_PERCENT = 2.0, 8.0, 0.6, 5.0
_TASK = Task(vocabulary_size=10_000, embedding_dim=300, num_classes=56, max_epochs=5)
# Everything that the command imports is there before the clock starts.
_STATUS = """
import sys, time
started = time.perf_counter()
import studies
import search.display.console, search.display.status, search.results.finding
import search.results.status, psycopg, sqlalchemy.dialects.postgresql.psycopg
imported = time.perf_counter()
status = studies.main(sys.argv[1:])
print(imported - started, time.perf_counter() - imported, file=sys.stderr)
sys.exit(status)
"""


def measure(
    url: str, *, existing: int, trials: int, repeats: int, compare: bool
) -> dict[str, Any]:
    """All figures of one storage, in seconds; ``compare``: also of the dashboard's own command."""
    storage = open_database(url)
    settings = StudySettings(
        model=MODEL,
        data={},
        data_name="none",
        data_fingerprint="none",
        vectors=None,
        embedding_dim=_TASK.embedding_dim,
        vectors_fingerprint="none",
        max_epochs=DEFAULT_EPOCHS[MODEL],
        seed=0,
        sampler="tpe",
        pruner="asha",
        space=SPACE_VERSIONS[MODEL],
    )
    study = open_study(storage, NAME, settings, n_trials=0)
    fill(url, study._study_id, _TASK, MODEL, existing)
    set_budget(storage, study._study_id, n_trials=existing + 10 * (trials + 2))
    for worker in ("here:1", "there:2"):  # for status to show
        claimed = claim(storage, study._study_id, token=worker, worker=worker)
        storage.set_trial_intermediate_value(getattr(claimed, "trial_id"), 1, 0.5)  # noqa: B009
    commands = [time_status(url) for _ in range(repeats)]
    alone = time_trials(url, trials)
    pages: dict[str, Any] = {}
    news: list[float] = []
    if compare:
        with dashboard(url, own_command=True) as address:
            pages["own_studies"] = time_get(f"{address}/api/studies")
            pages["own_study"] = time_get(page(address, study._study_id, 0))
    with dashboard(url) as address:
        pages["studies"] = time_get(f"{address}/api/studies")
        pages["study"] = time_get(page(address, study._study_id, 0))
        again = [time_get(page(address, study._study_id, 0)) for _ in range(repeats)]
        ask = page(address, study._study_id, existing)
        with asked_again_and_again(lambda: news.append(time_get(ask))):
            watched = time_trials(url, trials)
    storage.close()
    return {
        "status": vars(Spread.of([seconds for _, seconds in commands])),
        "status_imports": vars(Spread.of([imports for imports, _ in commands])),
        "dashboard": pages,
        "dashboard_again": vars(Spread.of(again)),
        "dashboard_news": vars(Spread.of(news)),
        "framework_first": alone[0],
        "framework": vars(Spread.of(alone[1:])),
        "framework_watched": vars(Spread.of(watched[1:])),
    }


def time_status(url: str) -> tuple[float, float]:
    """Seconds of the imports and of the command itself."""
    command = [sys.executable, "-c", _STATUS, "status", "--study", NAME, "--storage", url]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    if "here:1" not in done.stdout:
        raise RuntimeError(f"status does not show the workers: {done.stdout}")
    imports, seconds = done.stderr.split()[-2:]
    return float(imports), float(seconds)


def time_trials(url: str, count: int) -> list[float]:
    """Seconds of each trial of a new worker; the first reads the whole study."""
    ends: list[float] = []

    def objective(attempt: Attempt) -> float:
        attempt.suggest(lambda trial: SEARCH_SPACES[MODEL](trial, _TASK))
        for step in range(1, REPORTS + 1):
            attempt.report(0.9 + step / 1000, step)
            attempt.should_prune()
        return 0.9

    class Enough(Exception):
        pass

    def on_end(*_: Any) -> None:
        ends.append(time.perf_counter())
        if len(ends) > count:
            raise Enough

    storage = open_database(url)
    ends.append(time.perf_counter())
    try:
        run_worker(
            NAME,
            storage,
            objective,
            make_sampler=lambda seed: SAMPLERS["tpe"](seed, {}),
            pruner=PRUNERS["asha"](_TASK.max_steps),
            seed=int(ends[0]),
            on_end=on_end,
        )
    except Enough:
        pass
    storage.close()
    return [after - before for before, after in zip(ends, ends[1:], strict=False)]


def main() -> None:
    """Measure both storages, print the table and the targets, write the files."""
    arguments = options(__doc__, quick="fewer turns, our dashboard alone").parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials, repeats = (8, 2) if arguments.quick else (20, 5)
    found = {}
    with tempfile.TemporaryDirectory() as folder, running_server() as new_database:
        urls = {"SQLite": f"sqlite:///{folder}/optuna.db"}
        if new_database is not None:
            urls["PostgreSQL"] = new_database()
        for name, url in urls.items():
            found[name] = measure(
                url,
                existing=EXISTING,
                trials=trials,
                repeats=repeats,
                compare=not arguments.quick,
            )
    report = Report()
    report.content |= {"existing": EXISTING, "found": found}
    _print(report, found)
    report.write(arguments)


def _print(report: Report, found: dict[str, dict[str, Any]]) -> None:
    def spread(name: str) -> list[str]:
        return [Spread(**figures[name]).text(3) for figures in found.values()]

    def single(name: str) -> list[str]:
        return [f"{figures[name]:.3f}" for figures in found.values()]

    def pages(*names: str) -> list[str]:
        shown = [[figures["dashboard"].get(name) for name in names] for figures in found.values()]
        return ["" if None in times else f"{sum(times):.3f}" for times in shown]

    rows = [
        ["`status`, beyond imports", *spread("status")],
        ["imports of `status`", *spread("status_imports")],
        ["dashboard: list of studies and the study, first", *pages("studies", "study")],
        ["the same of optuna-dashboard's own command", *pages("own_studies", "own_study")],
        ["dashboard: the study, loaded again", *spread("dashboard_again")],
        ["dashboard: news for an open page", *spread("dashboard_news")],
        [f"framework per trial of {REPORTS} evaluations", *spread("framework")],
        ["the same, dashboard polled", *spread("framework_watched")],
        ["first trial of a worker", *single("framework_first")],
    ]
    title = f"Seconds at {EXISTING:,} trials: median (lowest - highest)"
    report.table(title, ["", *found], rows)
    for name, figures in found.items():
        dashboard_seconds = figures["dashboard"]["studies"] + figures["dashboard"]["study"]
        framework = figures["framework"]["median"]
        more = figures["framework_watched"]["median"] - framework
        slowed = 100 * more / (TRIAL_SECONDS + framework)
        lines = (
            verdict(
                f"status takes less than {STATUS_SECONDS:g} s",
                figures["status"]["high"] < STATUS_SECONDS,
                f"at most {figures['status']['high']:.2f} s",
            ),
            verdict(
                f"the dashboard answers within {DASHBOARD_SECONDS:g} s",
                dashboard_seconds < DASHBOARD_SECONDS,
                f"{dashboard_seconds:.2f} s",
            ),
            verdict(
                f"the framework takes at most {FRAMEWORK_SECONDS:g} s a trial",
                framework <= FRAMEWORK_SECONDS,
                f"{framework:.2f} s",
            ),
            verdict(
                f"the dashboard slows trials of {TRIAL_SECONDS:g} s by at most "
                f"{SLOWED_PERCENT:g} %",
                slowed <= SLOWED_PERCENT,
                f"{slowed:+.1f} %",
            ),
        )
        report.add(f"{name}\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
