"""How a command line ends: the exit code and the sentence for whatever went wrong."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inventories import ExitCode


def refused(error: Exception, *, as_json: bool) -> int:
    """End for what Typer refuses: wrong usage, or a question that was left with Ctrl-C."""
    from typer import TyperException

    from inventories import ExitCode

    if not isinstance(error, TyperException):
        return interrupted(as_json=as_json)
    sentence, where = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "crew")
    asked_nothing = sentence.startswith("Usage: ")
    return _tell(ExitCode.WRONG_USAGE, [sentence if asked_nothing else f"{sentence} ({where} --help)"], as_json=as_json)


def interrupted(*, as_json: bool) -> int:
    """End for Ctrl-C."""
    from inventories import ExitCode

    return _tell(ExitCode.INTERRUPTED, ["Stopped by Ctrl-C."], as_json=as_json)


def exit_for(error: Exception, *, as_json: bool) -> int:
    """End for an exception: one sentence if it is of a room's own family, an apology if it is a bug."""
    from inventories import ExitCode

    code, lines = known_end(error) or (ExitCode.FAILED, [_apology(error)])
    return _tell(code, lines, as_json=as_json)


_THE_MACHINES_OWN = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


def known_end(error: Exception) -> tuple[ExitCode, list[str]] | None:
    """Return the exit code and the lines of an error that explains itself; None for a bug."""
    from inventories import CrewError, ExitCode

    if isinstance(error, OSError) and error.errno in _THE_MACHINES_OWN:
        return ExitCode.FAILED, [f"{error.filename or 'what crew prints'}: {error.strerror}"]
    return (error.exit_code, list(error.lines)) if isinstance(error, CrewError) else None


def _tell(code: ExitCode, lines: Sequence[str], *, as_json: bool) -> int:
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
