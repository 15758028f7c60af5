"""How far the work is: bars on a terminal, elsewhere a log line a minute."""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.format import format_duration, format_size

if TYPE_CHECKING:
    import rich.progress
    from structlog.typing import FilteringBoundLogger

EVERY = 60.0


class Progress:
    """What one run tells of its progress; on a terminal all runs of a program share the bars."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, float]] = {}

    def tell(self, log: FilteringBoundLogger, what: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            _draw(what, done, total)
            return
        now = time.monotonic()
        with self._lock:
            begun, last = self._told.setdefault(what, (now, now))
            due = now - last >= EVERY
            if due:
                self._told[what] = begun, now
        if due:
            log.info("progress", what=what, bytes=done, of=total, **pace(done, total, now - begun))


def pace(done: int, total: int | None, seconds: float) -> dict[str, str]:
    """How fast it went so far, and how long it takes yet if it goes on like that."""
    rate = {"rate": f"{format_size(done / seconds)}/s"}
    return (
        rate
        if not total or not done
        else {**rate, "left": format_duration(timedelta(seconds=seconds * (total - done) / done))}
    )


_drawing = threading.Lock()
_bars: rich.progress.Progress | None = None
_tasks: dict[tuple[str, bool], rich.progress.TaskID] = {}


def _draw(what: str, done: int, total: int | None) -> None:
    global _bars  # noqa: PLW0603 - a terminal is there once
    with _drawing:
        if _bars is None:
            _bars = _new_bars()
            _bars.start()
        bar, other = (what, total is None), (what, total is not None)
        if bar not in _tasks:  # one bar can't lose its total again, once there is more than was thought
            _tasks[bar] = _bars.add_task(what, total=total)
        if other in _tasks:
            _bars.update(_tasks[other], visible=False)
        _bars.update(_tasks[bar], completed=done, total=total, visible=done != total)


def end_bars() -> None:
    """Give the terminal back before results are printed."""
    global _bars  # noqa: PLW0603
    with _drawing:
        if _bars is not None:
            _bars.stop()
            _bars = None
            _tasks.clear()


def _new_bars() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
