"""The live display of a search in a terminal, below a line for each finished trial."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.display.console import SafeConsole
from search.display.progress import PlainProgress, clock, format_params
from search.display.view import RunningTrial, StudyView

REFRESHES_PER_SECOND = 2  # each takes some milliseconds from the training thread
MAX_WIDTH = 100
STATE_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


class LiveProgress(PlainProgress):
    """A panel that is drawn anew twice a second; finished trials scroll by above it."""

    BREAKS_SILENCE = False

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._console = SafeConsole(file=stream or sys.stderr, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self.panel,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

    def panel(self) -> RenderableType:
        """What stands below the lines at this moment.

        Takes no lock: it is drawn under rich's own, which printing a line takes after ours.
        """
        view, width = self.view, min(self._console.width, MAX_WIDTH)
        if view.started_at is None or view.preparing:
            return _preparation(view, width)
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        rows.add_row("trials", _counts(view))
        for trial in list(view.running.values()):
            rows.add_row(f"trial {trial.number}", _running(trial, width))
        rows.add_row("best", _best(view))
        rows.add_row("time", _time(view))
        return Group(Text(), _title(view, width), rows)

    def _show(self, event: str, **facts: Any) -> None:
        try:
            if event == "closed":
                self._live.stop()
                return
            if not self._live.is_started:
                self._live.start()
            line = self._line(event, facts)
            if line and event != "preparing":  # that is in the panel
                self._console.print(self._styled(line, facts))
        except (OSError, ValueError):  # the terminal is gone; the search goes on
            self._is_read = False

    def _styled(self, line: str, facts: dict[str, Any]) -> Table:
        text = Text(line, overflow="fold")
        if state := facts.get("state"):
            text.highlight_words([state], STATE_STYLES.get(state, "cyan"))
        if facts.get("is_best"):
            text.highlight_words(["best so far"], "bold green")
        # In two columns, so that a long message does not run on below the time.
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_row(Text(f"{clock(self.view.elapsed_seconds()):>7}", style="dim"), text)
        return row


def _preparation(view: StudyView, width: int) -> RenderableType:
    time = f"{clock(view.elapsed_seconds())}  "
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(Text(time, style="dim"), Text(view.preparing or "starting", overflow="fold"))
    if view.fraction is None:
        return line
    return Group(line, _bar(view.fraction, width - len(time) - 6, indent=len(time) + 1))


def _title(view: StudyView, width: int) -> RenderableType:
    count = Text(f" {view.done} of {view.n_trials}", style="bold")
    name = Text(f"{view.name}  ", style="bold", overflow="ellipsis", no_wrap=True)
    name.truncate(width // 2, overflow="ellipsis")
    fraction = view.done / max(view.n_trials, 1)
    return _row(name, _bar(fraction, width - name.cell_len - count.cell_len - 1), count)


def _counts(view: StudyView) -> Text:
    workers = "1 worker" if view.workers == 1 else f"{view.workers} workers"
    return Text.assemble(
        (f"{view.complete} complete", STATE_STYLES["COMPLETE"]),
        "   ",
        (f"{view.pruned} pruned", STATE_STYLES["PRUNED"] if view.pruned else "dim"),
        "   ",
        (f"{view.failed} failed", STATE_STYLES["FAIL"] if view.failed else "dim"),
        f"   {workers}",
    )


def _running(trial: RunningTrial, width: int) -> RenderableType:
    if not trial.step or trial.value is None:
        return Text(format_params(trial.params), style="dim")
    if trial.epoch is None:
        place = f"step {trial.step} of {trial.max_step}"
    else:
        last = trial.epoch * trial.max_step / trial.step
        place = f"epoch {trial.epoch:.2f} of {last:.0f}"
    at = _bar(trial.step / max(trial.max_step, 1), max(width // 5, 4))
    return _row(at, Text(f"  {place}   "), Text(f"{trial.value:.4f}", style="bold"))


def _best(view: StudyView) -> Text:
    if view.best_value is None:
        return Text("none yet", style="dim")
    return Text.assemble(
        (f"{view.best_value:.4f}", "bold green"),
        f"  trial {view.best_number}\n",
        (format_params(view.best_params), "dim"),
    )


def _time(view: StudyView) -> Text:
    left = view.left_seconds()
    text = f"{clock(view.elapsed_seconds())} so far"
    return Text(text if left is None else f"{text}, about {clock(left)} left")


def _bar(fraction: float, width: int, *, indent: int = 0) -> RenderableType:
    bar = ProgressBar(
        total=1.0,
        completed=min(max(fraction, 0.0), 1.0),
        width=max(width, 4),
        complete_style="cyan",
        finished_style="green",
    )
    return _row(Text(" " * indent), bar) if indent else bar


def _row(*cells: RenderableType) -> Table:
    row = Table.grid()
    row.add_row(*cells)
    return row
