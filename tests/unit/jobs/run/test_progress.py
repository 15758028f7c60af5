"""Progress: bars on a terminal, else log lines."""

from __future__ import annotations

import os
import pty
import sys
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

import jobs.log
from jobs.run import progress
from jobs.run.progress import Progress, end_bars, pace


@pytest.fixture(autouse=True)
def _usual_level() -> None:
    """Log as a command does without options. A test before this one can have called one with --quiet."""
    jobs.log.configure()


def test_without_a_terminal_there_is_a_log_line_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0, 61.0, 62.0, 121.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress_of_run, log = Progress(), jobs.log.get()
    with capture_logs() as lines:
        for done in range(5):
            progress_of_run.report(log, "shop: dumped", done, 4)
    assert [line["bytes"] for line in lines] == [2, 4]


def test_a_bar_shows_no_markup_and_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = pty.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(terminal, "w"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    Progress().report(jobs.log.get(), "[red]shop[/red]\x1b]0;own\x07\u202e", 1, 2)
    end_bars()
    sys.stderr.close()
    shown = ""
    with suppress(OSError):  # a terminal without a writer has an error instead of an end
        while piece := os.read(controller, 100_000):
            shown += piece.decode()
    assert "[red]shop[/red]\\x1b]0;own\\x07\\u202e" in shown
    assert "\x1b]" not in shown


def test_a_second_try_has_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 600.0, 605.0, 660.0, 665.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress_of_run, log = Progress(), jobs.log.get()
    with capture_logs() as lines:
        for done in (0, 900, 10, 610, 1210):
            progress_of_run.report(log, "shop: dumped", done, None)
    assert [(line["bytes"], line["rate"]) for line in lines] == [(900, "2 B/s"), (610, "11 B/s")]


@pytest.mark.parametrize(
    ("done", "total", "fields"),
    [
        (3_000_000, 9_000_000, {"rate": "100 kB/s", "left": "1 min"}),
        (3_000_000, None, {"rate": "100 kB/s"}),
        (0, 9_000_000, {"rate": "0 B/s"}),
    ],
)
def test_a_line_has_the_rate_and_the_time_left(done: int, total: int | None, fields: dict[str, str]) -> None:
    assert pace(done, total, 30.0) == fields


def test_on_a_terminal_there_is_a_bar_until_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        Progress().report(jobs.log.get(), "shop: dumped", 1_000_000, 4_000_000)
        shown = b""
        while b"1.0/4.0 MB" not in shown:
            shown += os.read(ours, 1 << 16)
        assert b"shop: dumped" in shown
        Progress().report(jobs.log.get(), "shop: dumped", 5_000_000, None)
        while b"5.0/? MB" not in shown:
            shown += os.read(ours, 1 << 16)
        Progress().report(jobs.log.get(), "shop: dumped", 4_000_000, 4_000_000)
        end_bars()
        terminal.flush()
        shown += os.read(ours, 1 << 16)
    os.close(ours)
    assert b"4.0/4.0 MB" not in shown, "a complete bar disappears"
