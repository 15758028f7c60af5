"""How a command line ends: the exit code and the sentence for whatever went wrong."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
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


DONE, INTERRUPTED = Code.DONE, Code.INTERRUPTED


def refused(error: Exception, *, as_json: bool) -> int:
    """End for what Typer refuses: wrong usage, or a question that was left with Ctrl-C."""
    from typer import TyperException

    if not isinstance(error, TyperException):
        return interrupted(as_json=as_json)
    sentence, where = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "crew")
    asked_nothing = sentence.startswith("Usage: ")
    return _tell(Code.WRONG_USAGE, [sentence if asked_nothing else f"{sentence} ({where} --help)"], as_json=as_json)


def interrupted(*, as_json: bool) -> int:
    """End for Ctrl-C."""
    return _tell(Code.INTERRUPTED, ["Stopped by Ctrl-C."], as_json=as_json)


def exit_for(error: Exception, *, as_json: bool) -> int:
    """End for an exception: one sentence if it is of a room's own family, an apology if it is a bug."""
    known = known_end(error)
    if known is None:
        return _tell(Code.FAILED, [_apology(error)], as_json=as_json)
    return _tell(*known, as_json=as_json)


KNOWN = {
    "inventories.secret:BadEnvironment": Code.BAD_CONFIGURATION,
    "jobs.run.job:UnknownName": Code.WRONG_USAGE,
    "jobs.cli.arguments:NotConfigured": Code.BAD_CONFIGURATION,
    "jobs.cli.arguments:WrongUsage": Code.WRONG_USAGE,
    "jobs.embedded._started:EmbeddedError": Code.FAILED,
    "jobs.retention.policy:ClockBehind": Code.FAILED,
    "jobs.run.job:Failed": Code.FAILED,
    "jobs.run.job:Transient": Code.FAILED,
    "jobs.run.stop:Stopped": Code.FAILED,
    "jobs.run.lease:Held": Code.LOCK_HELD,
    "jobs.schedule.export:Inexpressible": Code.BAD_CONFIGURATION,
    "jobs.store.interface:StoreError": Code.FAILED,
    "terraform.errors:StackError": Code.FAILED,
}
"""The families of errors that the rooms raise for people to read, by name: none is imported only to be compared."""

_THE_MACHINES_OWN = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


def known_end(error: Exception) -> tuple[Code, list[str]] | None:
    """The code and the lines for an error that explains itself; None for a bug."""
    if isinstance(error, OSError) and error.errno in _THE_MACHINES_OWN:
        return Code.FAILED, [f"{error.filename or 'what crew prints'}: {error.strerror}"]
    names = (f"{kind.__module__}:{kind.__qualname__}" for kind in type(error).__mro__)
    code = next((KNOWN[name] for name in names if name in KNOWN), None)
    return None if code is None else (code, [str(line) for line in getattr(error, "faults", (error,))])


def _tell(code: Code, lines: Sequence[str], *, as_json: bool) -> int:
    """Say why on stderr, or as the one object on stdout."""
    from inventories import redact

    lines = [redact(line) for line in lines]
    if as_json:
        import json

        told: dict[str, Any] = {"format": 1, "error": lines[0], "errors": lines, "code": int(code)}
        with suppress(OSError):  # a pipe that was closed, a disk that is full: the exit code still says it
            print(json.dumps(told), flush=True)  # noqa: T201
    else:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


def _apology(error: Exception) -> str:
    """Keep a bug's traceback, secrets blanked, and say where."""
    import traceback

    from inventories import redact

    what = f"{type(error).__name__}: {error}"
    where = _kept(redact("".join(traceback.format_exception(error))))
    return (
        f"Sorry, crew broke: {what}. That is a bug in groundcrew, nothing that you did. "
        f"Please report it with {where} (the traceback, secrets blanked)."
    )


def _kept(trace: str) -> str:
    """Put a traceback into a file of its own; where no file can be written, on stderr."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile("w", prefix="crew-", suffix=".txt", delete=False) as file:
            file.write(trace)
    except OSError:
        sys.stderr.write(trace)
        return "what stands above"
    return file.name
