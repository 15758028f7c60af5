"""Progress of the work in bytes: bars on a terminal, elsewhere a log line per minute."""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from inventories.printable import printable
from jobs.format import format_duration, format_size

if TYPE_CHECKING:
    import rich.progress
    from structlog.typing import FilteringBoundLogger

LOG_INTERVAL = 60.0


class Progress:
    """The progress of one run. On a terminal, all runs of a program share the bars."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, tuple[float, float]] = {}  # of the first report and the last log line
        self._done: dict[str, int] = {}

    def report(self, log: FilteringBoundLogger, what: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            _draw(printable(what), done, total)
            return
        now = time.monotonic()
        with self._lock:
            first, last = self._times.setdefault(what, (now, now))
            if done < self._done.get(what, 0):  # the work was tried again from its beginning
                first = now
            self._done[what] = done
            due = now - last >= LOG_INTERVAL
            self._times[what] = first, now if due else last
        if due:
            log.info("progress", what=what, bytes=done, of=total, **pace(done, total, now - first))


def pace(done: int, total: int | None, seconds: float) -> dict[str, str]:
    """Return the rate so far, and the time left at that rate if the total is known."""
    fields = {"rate": f"{format_size(done / seconds)}/s"} if seconds else {}
    if total and done and seconds:
        fields["left"] = format_duration(timedelta(seconds=seconds * (total - done) / done))
    return fields


_drawing = threading.Lock()
_bars: rich.progress.Progress | None = None
_tasks: dict[tuple[str, bool], rich.progress.TaskID] = {}


def _draw(what: str, done: int, total: int | None) -> None:
    global _bars  # noqa: PLW0603 - a program has one terminal
    with _drawing:
        if _bars is None:
            _bars = _new_bars()
            _bars.start()
        bar, other = (what, total is None), (what, total is not None)
        if bar not in _tasks:  # a bar cannot lose its total, so work that exceeds its total gets a second bar
            _tasks[bar] = _bars.add_task(what, total=total)
        if other in _tasks:
            _bars.update(_tasks[other], visible=False)
        _bars.update(_tasks[bar], completed=done, total=total, visible=done != total)


def end_bars() -> None:
    """Remove the bars from the terminal, before results are printed."""
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
