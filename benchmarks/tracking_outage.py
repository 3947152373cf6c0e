"""What it costs a search that MLflow is not there.

    python -m benchmarks.tracking_outage [--json FILE] [--markdown FILE] [--quick]

The same command runs the same trials, from its start to its end, four ways in turn: with tracking
switched off, with an MLflow address at which nobody listens, with one that accepts connections and
never answers, and with MLflow's database where it is by default. No option switches tracking off;
the first way is the command with a tracker that is given no address, so that it writes no events
and starts no sender. The target is the ratio of the second and third to the first, each formed
within a round; from round to round their order changes. The fourth is there to compare with; it
includes MLflow's own work.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.command import Report, options, verdict
from benchmarks.report import Spread

TARGET_RATIO = 1.05
OFF, BY_DEFAULT = "off", "by default"
# A worker's tracker without an address; the command is otherwise its own.
_UNTRACKED = """
import sys
from search.tracking.client import Tracker
init = Tracker.__init__
Tracker.__init__ = lambda self, uri, **rest: init(self, None, **rest)
import studies
sys.exit(studies.main(sys.argv[1:]))
"""


@contextmanager
def addresses() -> Iterator[dict[str, str]]:
    """The MLflow address of each way; empty for the default one."""
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as silent:
        # Bound, so that nobody else gets the port, and not listening.
        closed.bind(("127.0.0.1", 0))
        yield {
            OFF: "",
            "nobody listens": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "never answers": f"http://127.0.0.1:{silent.getsockname()[1]}",
            BY_DEFAULT: "",
        }


def seconds(way: str, uri: str, *, trials: int, epochs: int, out: Path) -> float:
    """Run the search once in a folder where its data are prepared, and nothing else is."""
    for name in ("tracking", "checkpoints", "artifacts", "mlartifacts"):
        shutil.rmtree(out / name, ignore_errors=True)
    for path in out.glob("*.db*"):
        path.unlink()
    program = ["-c", _UNTRACKED] if way == OFF else ["studies.py"]
    environment = {"OMP_NUM_THREADS": "1", **({"MLFLOW_TRACKING_URI": uri} if uri else {})}
    arguments = ["--trials", str(trials), "--pruner", "none", "--quiet"]
    arguments += ["--epochs", str(epochs)]
    command = [sys.executable, *program, *arguments, "--out", str(out)]
    return processes.run(command, environment=environment).seconds


def measure(
    *, trials: int, epochs: int, rounds: int, with_default: bool
) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that is not measured."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, addresses() as uris:
        cache = Path(folder) / "cache"
        cache.mkdir()
        ways = [way for way in uris if with_default or way != BY_DEFAULT]
        outs = {way: Path(folder) / way.replace(" ", "-") for way in ways}
        for way, out in outs.items():
            out.mkdir()
            (out / "cache").symlink_to(cache)  # the data are prepared once for all
            seconds(way, uris[way], trials=1, epochs=1, out=out)
        for _ in range(rounds):
            for way in ways:
                took = seconds(way, uris[way], trials=trials, epochs=epochs, out=outs[way])
                found.setdefault(way, []).append(took)
            ways = ways[1:] + ways[:1]  # none always before or behind the same
    return found


def main() -> None:
    arguments = options(
        __doc__, quick="3 rounds of few trials, without the fourth way"
    ).parse_args()
    trials, epochs, rounds = (4, 1, 3) if arguments.quick else (20, 2, 5)
    report = Report()
    found = measure(trials=trials, epochs=epochs, rounds=rounds, with_default=not arguments.quick)
    rows, ratios = [], {}
    for way, times in found.items():
        ratio = Spread.of([a / b for a, b in zip(times, found[OFF], strict=True)])
        ratios[way] = ratio.median
        rows.append([way, Spread.of(times).text(1), ratio.text(3)])
    title = f"A search of {trials} trials, {rounds} round(s), by what is at MLflow's address"
    report.table(title, ["MLflow", "seconds", "times the one that is off"], rows)
    worst = max(ratios["nobody listens"], ratios["never answers"])
    target = f"at most {TARGET_RATIO} times as long without an MLflow that answers"
    report.add(verdict(target, worst <= TARGET_RATIO, f"{worst:.3f}"))
    report.content |= {"trials": trials, "seconds": found, "ratios": ratios}
    report.write(arguments)


if __name__ == "__main__":
    main()
