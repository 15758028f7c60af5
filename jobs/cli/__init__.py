"""The command line `crew`: it parses, calls and prints, and imports a command's module only when that is called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from jobs.cli import exit_codes

_SELDOM = 200_000
"""New objects between two searches for garbage: importing makes many, of which none is any."""


def main(args: Sequence[str] | None = None) -> None:
    """Run `crew` as a program: the exit code says how it ended (see jobs/cli/exit_codes.py)."""
    gc.set_threshold(_SELDOM)
    given = sys.argv[1:] if args is None else args
    try:
        code = answer(given)
    except KeyboardInterrupt:  # while the commands are still being imported, or once they have ended
        code = exit_codes.interrupted(as_json="--json" in given)
    gc.freeze()  # what is left goes with the process: to look through it once more takes a tenth of a second
    sys.exit(code)


def answer(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; whatever goes wrong is told in a sentence."""
    import typer

    from jobs.cli.commands import crew

    try:
        code = crew().main(list(args), prog_name="crew", standalone_mode=False)
    except (typer.TyperException, typer.Abort) as error:
        return exit_codes.refused(error, as_json="--json" in args)
    except Exception as error:
        return exit_codes.exit_for(error, as_json="--json" in args)
    if not code:
        return 0
    from inventories import ExitCode

    return exit_codes.interrupted(as_json="--json" in args) if code == ExitCode.INTERRUPTED else code
