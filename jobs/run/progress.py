"""How far the work is: bars on a terminal, elsewhere a log line a minute."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

if TYPE_CHECKING:
    import rich.progress

EVERY = 60.0


class Progress:
    """What one run tells of its progress; on a terminal all runs of a program share the bars."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}

    def tell(self, log: FilteringBoundLogger, what: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            _draw(what, done, total)
            return
        now = time.monotonic()
        with self._lock:
            due = now - self._logged.setdefault(what, now) >= EVERY
            if due:
                self._logged[what] = now
        if due:
            log.info("progress", what=what, bytes=done, of=total)


_drawing = threading.Lock()
_bars: rich.progress.Progress | None = None
_tasks: dict[str, rich.progress.TaskID] = {}


def _draw(what: str, done: int, total: int | None) -> None:
    global _bars  # noqa: PLW0603 - a terminal is there once
    with _drawing:
        if _bars is None:
            _bars = _new_bars()
            _bars.start()
        if what not in _tasks:
            _tasks[what] = _bars.add_task(what, total=total)
        _bars.update(_tasks[what], completed=done, total=total, visible=done != total)


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
