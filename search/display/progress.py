"""What a search shows while it runs: a live display, plain lines, JSON lines, or nothing.

Told of events by whoever runs the trials, and never by asking a storage. Showing them cannot fail
the search: when nobody reads any more, it goes on unseen.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from data_utils.safe_text import for_terminal
from search.display.silence import Silence
from search.display.view import Best, RunningTrial, StudyView

PREPARING_SECONDS = 10.0  # between two plain lines about the same work


class Progress:
    """Shows nothing but messages: the display of `--quiet`, and the base of the others.

    Safe to call from several threads. As a context manager it closes itself.
    """

    #: Whether a line says what is still being done when nothing else has been said for long.
    BREAKS_SILENCE = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self.view = StudyView()
        self.stream = stream or sys.stderr
        self._lock = threading.RLock()
        self._is_read = True
        self._silence = Silence(self._still_working)
        self._doing = ""

    def preparing(self, text: str, fraction: float | None = None) -> None:
        """Something before the trials, and how much of it is done, from 0 to 1."""
        with self._lock:
            self.view.preparing, self.view.fraction = text, fraction
            self._doing = text
            self._show("preparing", text=text, fraction=fraction)

    def study_started(
        self,
        name: str,
        n_trials: int,
        *,
        complete: int = 0,
        pruned: int = 0,
        failed: int = 0,
        best: Best | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Trials are about to run. The counts and `best` are those of the study so far.

        Args:
            timeout_seconds: what is left of the study's time; None without a limit.
        """
        with self._lock:
            self._doing = ""
            view, now = self.view, time.monotonic()
            view.name, view.n_trials, view.preparing = name, n_trials, ""
            view.complete, view.pruned, view.failed = complete, pruned, failed
            view.started_at, view.done_at_start = now, view.done
            view.ends_at = None if timeout_seconds is None else now + timeout_seconds
            if best is not None:
                view.best_number, view.best_value, view.best_params = *best[:2], dict(best[2])
            self._show(
                "study_started", name=name, n_trials=n_trials, **view.counts(), best=view.best()
            )

    def trial_started(self, number: int, params: Mapping[str, Any]) -> None:
        """This worker begins a trial, or goes on with it."""
        with self._lock:
            self.view.running[number] = RunningTrial(number, dict(params), time.monotonic())
            self._show("trial_started", number=number, params=dict(params))

    def evaluated(
        self, number: int, step: int, max_step: int, value: float, *, epoch: float | None = None
    ) -> None:
        """A point on the trial's curve; `max_step` is the last step it can come to."""
        with self._lock:
            if trial := self.view.running.get(number):
                trial.step, trial.max_step = step, max_step
                trial.value, trial.epoch = value, epoch
            self._show(
                "evaluated", number=number, step=step, max_step=max_step, epoch=epoch, value=value
            )

    def trial_finished(
        self,
        number: int,
        state: str,
        value: float | None,
        seconds: float | None = None,
        *,
        counted: bool = False,
        reason: str = "",
    ) -> None:
        """A trial of this worker is over: COMPLETE, PRUNED, FAIL; WAITING to be taken up again;
        RUNNING, as another worker's.

        Args:
            counted: The last ``study_state`` includes it.
            reason: Why it was pruned, if no pruner did it.
        """
        with self._lock:
            view = self.view
            trial = view.running.pop(number, None)
            if seconds is None and trial is not None:
                seconds = time.monotonic() - trial.started_at
            if not counted:
                view.complete += state == "COMPLETE"
                view.pruned += state == "PRUNED"
                view.failed += state == "FAIL"
            beats = _beats(value, view.best_value)
            is_best = state == "COMPLETE" and (beats or number == view.best_number)
            if beats and is_best:
                view.best_number, view.best_value = number, value
                view.best_params = trial.params if trial else {}
            self._show(
                "trial_finished",
                number=number,
                state=state,
                value=value,
                seconds=seconds,
                is_best=is_best,
                counted=counted,
                reason=reason,
            )

    def study_state(
        self,
        *,
        complete: int,
        pruned: int,
        failed: int,
        workers: int,
        best: Best | None = None,
    ) -> None:
        """The study's counts from its storage, other workers' trials included."""
        with self._lock:
            view = self.view
            view.complete, view.pruned, view.failed = complete, pruned, failed
            view.workers = workers
            if best is not None:
                view.best_number, view.best_value, view.best_params = *best[:2], dict(best[2])
            self._show("study_state", **view.counts(), workers=workers, best=view.best())

    def message(self, text: str) -> None:
        """A line for the user, shown by every display."""
        with self._lock:
            self._show("message", text=text)

    def remark(self, text: str) -> None:
        """A line that may as well be left out: what is being done, and nothing to be mended."""
        with self._lock:
            self._doing = text
            self._show("remark", text=text)

    def alive(self) -> None:
        """This process can still speak: JSON lines say so to whoever started it."""
        with self._lock:
            self._show("alive")

    def closed(self) -> None:
        """Nothing follows; leaves the terminal as it was. May be called twice."""
        with self._lock:
            self._show(
                "closed", n_trials=self.view.n_trials, **self.view.counts(), best=self.view.best()
            )

    def __enter__(self) -> Progress:
        if self.BREAKS_SILENCE:
            self._silence.watch()
        return self

    def __exit__(self, *_: object) -> None:
        self._silence.end()
        self.closed()

    def _still_working(self) -> None:
        with self._lock:
            if text := self.view.standing() or self._doing:
                self._show("working", text=f"still: {text}")

    def _show(self, event: str, **facts: Any) -> None:
        if event == "message":
            self._write(for_terminal(facts["text"]))

    def _write(self, line: str) -> None:
        """A line to whoever reads; a reader that has gone away is not the search's concern."""
        if self._is_read:
            try:
                self.stream.write(f"{line}\n")
                self.stream.flush()
            except (OSError, ValueError):
                self._is_read = False


class PlainProgress(Progress):
    """A line for each finished trial, for files and pipes; and others where that takes long."""

    BREAKS_SILENCE = True

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._prepared = ""
        self._prepared_at = 0.0

    def _show(self, event: str, **facts: Any) -> None:
        line = self._line(event, facts)
        if line:
            self._silence.reset()
            self._write(f"{clock(self.view.elapsed_seconds()):>7}  {for_terminal(line)}")

    def _line(self, event: str, facts: dict[str, Any]) -> str:
        match event:
            case "preparing":
                return self._preparing_line(facts["text"], facts["fraction"])
            case "study_started":
                return _study_line(self.view)
            case "trial_finished":
                return finished_line(self.view, facts)
            case "message" | "remark" | "working":
                return str(facts["text"])
        return ""

    def _preparing_line(self, text: str, fraction: float | None) -> str:
        now = time.monotonic()
        if text == self._prepared and now - self._prepared_at < PREPARING_SECONDS:
            return ""
        self._prepared, self._prepared_at = text, now
        return text if not fraction else f"{text}, {fraction:.0%}"


class JsonProgress(Progress):
    """Every event as a JSON object on a line, on standard output: `event`, `time`, its facts.

    `time` is in seconds since 1970. A value that is no number is null.
    """

    BREAKS_SILENCE = True

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stdout)

    def _show(self, event: str, **facts: Any) -> None:
        if event != "alive":  # that says nothing of the work
            self._silence.reset()
        record = {"event": event, "time": round(time.time(), 3), **facts}
        self._write(json.dumps(json_able(record), ensure_ascii=False))


def make_progress(*, quiet: bool = False, json_lines: bool = False) -> Progress:
    """The display that suits: as asked for, else live on a terminal and lines elsewhere.

    Display and lines go to standard error, so that standard output holds results alone.
    """
    if json_lines:
        return JsonProgress()
    if quiet:
        return Progress()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from search.display.live import LiveProgress  # rich: not for those who do not see it

        return LiveProgress()
    return PlainProgress()


def finished_line(view: StudyView, facts: Mapping[str, Any]) -> str:
    """One line on a trial that is over."""
    state, value, seconds = facts["state"], facts["value"], facts["seconds"]
    after = {"WAITING": "put back, goes on later", "RUNNING": "now another worker's"}.get(state)
    if after:
        return f"trial {facts['number']:<4} {after}"
    parts = [
        f"trial {facts['number']:<4} {state:<8}",
        "      " if value is None else f"{value:.4f}",
        "        " if seconds is None else f"{seconds:6.1f} s",
        f"{view.done} of {view.n_trials}",
        "best so far" if facts["is_best"] else facts["reason"],
    ]
    return "  ".join(parts).rstrip()


def format_params(params: Mapping[str, Any]) -> str:
    """A configuration on one line, for people."""
    return "  ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _study_line(view: StudyView) -> str:
    text = f"study {view.name}: {view.done} of {view.n_trials} trials done"
    if view.best_value is not None:
        text += f", best {view.best_value:.4f} (trial {view.best_number})"
    return text


def _beats(value: float | None, best: float | None) -> bool:
    return value is not None and math.isfinite(value) and (best is None or value > best)


def json_able(value: Any) -> Any:
    """``value`` for JSON, which has no NaN: readers other than Python's stop at one."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): json_able(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_able(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
