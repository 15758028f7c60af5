"""The base of every error that explains itself, and the exit codes of `crew`."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `crew`; those from 64 to 78 are as in sysexits.h."""

    DONE = 0
    FAILED = 1
    FINDING = 2
    WRONG_USAGE = 64
    LOCK_HELD = 75
    BAD_CONFIGURATION = 78
    INTERRUPTED = 130


class CrewError(Exception):
    """An error that a user can act on: each line names the thing, the fact and the remedy."""

    exit_code = ExitCode.FAILED
    retryable = False
    """Whether the same call can succeed later."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    @property
    def on_one_line(self) -> str:
        """The message for a table, a record or a log line."""
        return "; ".join(self.lines)
