"""The command line `crew`. Importing it imports no command; a command's module is imported when it is called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from jobs.cli import exit_codes

_GC_THRESHOLD = 200_000
"""New objects between two garbage collections. Imports create many objects and leave no garbage."""


def main(args: Sequence[str] | None = None) -> None:
    """Run `crew` as a program and exit with an ExitCode."""
    gc.set_threshold(_GC_THRESHOLD)
    args = sys.argv[1:] if args is None else args
    try:
        code = run_command_line(args)
    except KeyboardInterrupt:  # during imports, or after the command has ended
        code = exit_codes.exit_for_interrupt(as_json="--json" in args)
    gc.freeze()  # skips the last collection at exit, which takes 0.1 s
    sys.exit(code)


def run_command_line(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; print any error as a sentence."""
    import typer

    from jobs.author import set_command
    from jobs.cli.commands import command_line
    from jobs.cli.order import ordered

    set_command(args)
    try:
        code = command_line().main(ordered(args), prog_name="crew", standalone_mode=False)
    except (typer.TyperException, typer.Abort) as error:
        return exit_codes.exit_for_usage_error(error, as_json="--json" in args)
    except Exception as error:
        return exit_codes.exit_for_error(error, as_json="--json" in args)
    if not code:
        return 0
    from inventories import ExitCode

    return exit_codes.exit_for_interrupt(as_json="--json" in args) if code == ExitCode.INTERRUPTED else code
