"""How a command line ends: the exit code and the sentence for whatever went wrong."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """The exit codes, as sysexits.h has those above 2."""

    DONE = 0
    FAILED = 1
    FINDING = 2
    WRONG_USAGE = 64
    LOCK_HELD = 75
    BAD_CONFIGURATION = 78
    INTERRUPTED = 130
    PIPE_CLOSED = 141


DONE, INTERRUPTED = Code.DONE, Code.INTERRUPTED


def refused(error: Exception, *, as_json: bool) -> int:
    """End for what Typer refuses: wrong usage, or a question that was left with Ctrl-C."""
    from typer import TyperException

    if not isinstance(error, TyperException):
        return _tell(Code.INTERRUPTED, ["Stopped."], as_json=as_json)
    sentence, where = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "crew")
    asked_nothing = sentence.startswith("Usage: ")
    return _tell(Code.WRONG_USAGE, [sentence if asked_nothing else f"{sentence} ({where} --help)"], as_json=as_json)


def told(error: Exception, *, as_json: bool) -> int:
    """End for an exception: one sentence if it is of a room's own family, an apology if it is a bug."""
    known = known_end(error)
    if known is None:
        return _tell(Code.FAILED, [_apology(error)], as_json=as_json)
    return _tell(*known, as_json=as_json)


def known_end(error: Exception) -> tuple[Code, list[str]] | None:
    """The code and the lines for an error that the rooms raise for people to read; None for a bug."""
    from inventories import BadEnvironment
    from jobs.cli.frame import NotConfigured, WrongUsage
    from jobs.run.job import Failed, Passing, Stopped
    from jobs.store import StoreError

    if isinstance(error, WrongUsage):
        return Code.WRONG_USAGE, [str(error)]
    if isinstance(error, NotConfigured):
        return Code.BAD_CONFIGURATION, [str(error)]
    if isinstance(error, BadEnvironment):
        return Code.BAD_CONFIGURATION, [str(fault) for fault in error.faults]
    if isinstance(error, StoreError | Failed | Passing | Stopped):
        return Code.FAILED, [str(error)]
    return None


def pipe_closed() -> int:
    """End quietly when the reader of our output has left, as `crew runs | head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Code.PIPE_CLOSED


def _tell(code: Code, lines: Sequence[str], *, as_json: bool) -> int:
    """Say why on stderr, or as the one object on stdout."""
    from inventories import redact

    lines = [redact(line) for line in lines]
    if as_json:
        import json

        told: dict[str, Any] = {"format": 1, "error": lines[0], "errors": lines, "code": int(code)}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


def _apology(error: Exception) -> str:
    """Keep a bug's traceback in a file of its own, secrets blanked, and say where."""
    from inventories import redact

    what = f"{type(error).__name__}: {error}"
    with tempfile.NamedTemporaryFile("w", prefix="crew-", suffix=".txt", delete=False) as kept:
        kept.write(redact("".join(traceback.format_exception(error))))
    return (
        f"Sorry, crew broke: {what}. That is a bug in groundcrew, nothing that you did. "
        f"Please report it with {kept.name} (the traceback, secrets blanked)."
    )
