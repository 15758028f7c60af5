"""Which commands there are, and where each lives."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command


class Command(NamedTuple):
    """The module whose `app` is the command, and the line that `crew --help` says of it (its help's first)."""

    module: str
    line: str


COMMANDS = {
    "init": Command("jobs.cli.init", "Write the two files of a new environment."),
    "check": Command("jobs.cli.check", "Reach all that an environment names, once."),
    "run": Command("jobs.cli.run", "Run a job now."),
    "backups": Command("jobs.cli.backups", "Which backup sets there are, and what can be done with them."),
    "schedule": Command("jobs.cli.schedule", "What runs when, and what runs it."),
    "stacks": Command("jobs.cli.stacks", "Terraform, per environment, in order, and with care."),
    "drift": Command("jobs.cli.drift", "Look whether the stacks are as the code has them."),
    "cost": Command("jobs.cli.cost", "What the month costs, and what it will come to."),
    "runs": Command("jobs.cli.runs", "What ran, when, and how it ended."),
    "status": Command("jobs.cli.status", "How the environments are: the bad news first."),
    "demo": Command("jobs.cli.demo", "The whole story on this machine: back up, lose, restore, verify."),
    "alerts": Command("jobs.cli.alerts", "Where the bad news goes."),
}


class Elsewhere(TyperGroup):
    """Lists its commands by their names and lines alone, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Swap the entry that was found for the real command."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and command(str(name)), rest


def command(name: str) -> Any:
    """The real command of this name, imported now."""
    app: typer.Typer = import_module(COMMANDS[name].module).app
    return get_command(app)


def crew() -> Any:
    """The whole command line."""
    app = typer.Typer(
        cls=Elsewhere,
        callback=everywhere,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done, 1 failed, 2 a finding, 64 wrong usage, 75 another run holds the lock, "
        "78 bad configuration.",
    )
    for name, place in COMMANDS.items():
        app.command(name, help=place.line)(lambda: None)
    return get_command(app)


def everywhere(
    root: Annotated[  # noqa: ARG001 - read by frame.repository, which completion needs too
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder that has inventories/. Left out: CREW_ROOT, else from here upwards, else /etc/groundcrew.",
        ),
    ] = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more on stderr; -vv says most.")
    ] = 0,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", is_eager=True, callback=lambda asked: tell_version() if asked else None)
    ] = False,
) -> None:
    """Back databases up, verify it, keep servers and cloud as they should be, and tell what is wrong."""
    from jobs import log

    log.configure(verbose)


def tell_version() -> None:
    """Print the version and stop."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        typer.echo(f"crew {version('groundcrew')}")
    except PackageNotFoundError:
        typer.echo("crew (not installed: run from its repository)")
    raise typer.Exit
