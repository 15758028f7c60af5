"""The list of commands, and the root command `crew` that imports them when they are called."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command


class CommandEntry(NamedTuple):
    """A command of `crew`: the module with its `app`, and its line in `crew --help`, which is its docstring's first."""

    module: str
    summary: str


COMMANDS = {
    "init": CommandEntry("jobs.cli.init", "Create the files of a new environment."),
    "check": CommandEntry("jobs.cli.check", "Test an environment's store, databases, keys and programs."),
    "run": CommandEntry("jobs.cli.run", "Run a job now."),
    "backups": CommandEntry("jobs.cli.backups", "List, restore, verify, pin and prune backup sets."),
    "schedule": CommandEntry("jobs.cli.schedule", "Show, run and export the schedule of jobs."),
    "stacks": CommandEntry("jobs.cli.stacks", "Plan and apply an environment's Terraform stacks."),
    "drift": CommandEntry("jobs.cli.drift", "Report drift and pending changes of Terraform stacks."),
    "cost": CommandEntry("jobs.cli.cost", "Show this month's cloud cost and forecast, and the budget."),
    "runs": CommandEntry("jobs.cli.runs", "List runs, or show one run with its log."),
    "status": CommandEntry("jobs.cli.status", "Show environment health, problems first."),
    "metrics": CommandEntry("jobs.cli.metrics", "Print or serve the metrics of an environment for Prometheus."),
    "apps": CommandEntry("jobs.cli.apps", "Show the apps that passed their tests in an environment."),
    "kubeconfig": CommandEntry("jobs.cli.kubeconfig", "Issue a short-lived kubeconfig for a person."),
    "demo": CommandEntry("jobs.cli.demo", "Back up, lose, restore and verify a database on this machine."),
    "alerts": CommandEntry("jobs.cli.alerts", "Test the alert addresses of an environment."),
}


_OF_BACKUPS = ("list", "show", "restore", "verify", "fetch", "pin", "unpin", "prune", "undelete", "evidence")
_OF_STACKS = ("bootstrap", "plan", "apply", "destroy", "output", "unlock", "states", "rollback", "terraform")
MEANT = {
    **{name: f"crew backups {name}" for name in _OF_BACKUPS},
    **{name: f"crew stacks {name}" for name in _OF_STACKS},
    **{name: f"crew run {name}" for name in ("backup", "retention", "copy", "refresh", "hosts", "digest")},
    "export": "crew schedule export",
    "logs": "crew runs ENV --last",
}
"""Words that are no commands but name one of a group, and the command that is meant."""

EPILOG = """\b
Examples:
  crew init staging
  crew check staging
  crew run backup staging
  crew status

Exit codes: 0 success, 1 failure, 2 finding, 64 wrong usage, 75 lock held by another run, 78 invalid configuration,
130 Ctrl-C (a run, restore or demo exits with 1).
"""


class LazyGroup(TyperGroup):
    """Lists commands from COMMANDS alone, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the placeholder of the called command with the command."""
        if args[0] in MEANT and not ctx.resilient_parsing:
            from jobs.cli.arguments import WrongUsage

            raise WrongUsage(f"there is no command crew {args[0]}; use: {MEANT[args[0]]}")
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, placeholder and load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command and return it."""
    app: typer.Typer = import_module(COMMANDS[name].module).app
    return get_command(app)


def command_line() -> Any:
    """Return the root command, with a placeholder for each command."""
    app = typer.Typer(
        cls=LazyGroup,
        callback=global_options,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    for name, entry in COMMANDS.items():
        app.command(name, help=entry.summary)(lambda: None)
    return get_command(app)


def global_options(
    root: Annotated[  # noqa: ARG001 - read by arguments.find_repository, which completion needs too
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Directory that contains inventories/ (default: $CREW_ROOT, then the current directory or its nearest "
            "parent that has one, then /etc/groundcrew).",
        ),
    ] = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log more to stderr; -vv logs most.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log only errors to stderr.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            help="Print the version and exit.",
            callback=lambda value: print_version() if value else None,
        ),
    ] = False,
) -> None:
    """Back up and restore PostgreSQL, apply Terraform stacks, and report failures, drift and cost."""
    from jobs import log

    log.configure(verbose, quiet=quiet)


def print_version() -> None:
    """Print the version and exit."""
    from importlib.metadata import PackageNotFoundError, version

    from jobs.cli import output

    try:
        output.say(f"crew {version('groundcrew')}")
    except PackageNotFoundError:
        output.say("crew (not installed, run from its repository)")
    raise typer.Exit
