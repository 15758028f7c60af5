"""The exit code and the message of a command line that ends with an error."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inventories import ExitCode


def exit_for_usage_error(error: Exception, *, as_json: bool) -> int:
    """Report an error of Typer: wrong usage, or a prompt that was left with Ctrl-C."""
    from typer import TyperException

    from inventories import ExitCode

    if not isinstance(error, TyperException):
        return exit_for_interrupt(as_json=as_json)
    message, command = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "crew")
    is_help = message.startswith("Usage: ")
    lines = message.split("\n") if is_help else [f"{message} ({command} --help)"]
    return _report(ExitCode.WRONG_USAGE, lines, as_json=as_json)


def exit_for_interrupt(*, as_json: bool) -> int:
    """Report Ctrl-C."""
    from inventories import ExitCode

    return _report(ExitCode.INTERRUPTED, ["Interrupted by Ctrl-C."], as_json=as_json)


def exit_for_error(error: Exception, *, as_json: bool) -> int:
    """Report an exception: the message of an error that explains itself, or an apology for a bug."""
    from inventories import ExitCode

    code, lines = explained(error) or (ExitCode.FAILED, [apology(error)])
    return _report(code, lines, as_json=as_json)


_SYSTEM_ERRORS = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EEXIST, errno.ENOTDIR)
"""Errors of the machine, such as a full disk, that are no bug of ours."""


def explained(error: Exception) -> tuple[ExitCode, list[str]] | None:
    """Return the exit code and the message of an error that explains itself; None for a bug."""
    from inventories import CrewError, ExitCode

    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
        return ExitCode.FAILED, [f"{error.filename or 'output'}: {error.strerror}"]
    return (error.exit_code, list(error.lines)) if isinstance(error, CrewError) else None


def _report(code: ExitCode, lines: Sequence[str], *, as_json: bool) -> int:
    """Print the message to stderr, or to stdout as one JSON object; return the exit code."""
    from inventories import redact

    lines = [redact(line) for line in lines]
    if as_json:
        import json

        document: dict[str, Any] = {"format": 1, "error": lines[0], "errors": lines, "code": int(code)}
        with suppress(OSError):  # a closed pipe or a full disk: the exit code still reports the error
            print(json.dumps(document), flush=True)  # noqa: T201
    else:
        from jobs.cli import output

        for line in lines:
            output.say_to_stderr(line)
    return code


def apology(error: Exception) -> str:
    """Save the traceback of a bug, with secrets redacted, and return the message about it."""
    import traceback

    from inventories import redact
    from inventories.printable import printable_lines

    where = _save_traceback(printable_lines(redact("".join(traceback.format_exception(error)))))
    return (
        f"Bug in crew: {type(error).__name__}: {error}. This is not your fault. "
        f"Please report it with {where} (secrets are removed from it)."
    )


def _save_traceback(text: str) -> str:
    """Write a traceback to a temporary file, or to stderr if that fails; return where it is."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile("w", prefix="crew-", suffix=".txt", delete=False) as file:
            file.write(text)
    except OSError:
        sys.stderr.write(text)
        return "the traceback above"
    return f"the traceback in {file.name}"
