"""What the commands share: their shape, their common arguments, and finding the environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import CrewError, ExitCode

if TYPE_CHECKING:
    from inventories import Environment, Repository
    from jobs.store import Store


class WrongUsage(CrewError):
    """What was typed can't be done; the message says what can."""

    exit_code = ExitCode.WRONG_USAGE


class NotConfigured(CrewError):
    """The environment's file lacks what the command is about; the message says what to add."""

    exit_code = ExitCode.BAD_CONFIGURATION


def new_app(*, several: str = "") -> typer.Typer:
    """An empty app; with `several`, its help, it is a group even while it has only one command."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=bool(several),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    if several:
        app.callback(help=several)(lambda: None)
    return app


def examples(*lines: str) -> str:
    """The end of a command's help: what one would type, a line each."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def repository(ctx: typer.Context) -> Repository:
    """The repository that --root, CREW_ROOT or the current folder leads to."""
    from inventories import Repository

    return Repository.find(root(ctx))


def root(ctx: typer.Context) -> Path | None:
    """What --root says."""
    given = ctx.find_root().params.get("root")
    return Path(given) if given else None


def environment(ctx: typer.Context, name: str) -> Environment:
    """The environment of this name, or every fault of its file."""
    return repository(ctx).read(name)


def store(environment: Environment, job: str | None = None) -> Store:
    """The environment's store; NotConfigured if it has none."""
    from jobs.store import open_store

    if environment.store is None:
        raise NotConfigured(
            f"{environment.name}: has no [store], so nothing is run or kept there; "
            f"add one to inventories/{environment.name}.toml (crew init --reference shows how)"
        )
    return open_store(environment.store, job)


def print_json(told: dict[str, Any]) -> None:
    """Print the one object that --json promises."""
    import json

    from inventories import redact_all

    # Value by value: in the text, a password such as 1 would be found in every number.
    typer.echo(json.dumps({"format": 1, **{key: redact_all(value) for key, value in told.items()}}, ensure_ascii=False))


def _begin_with(start: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(start)]


def _environments(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Names for the shell to complete; a shell is no place for error messages."""
    with suppress(Exception):
        yield from _begin_with(incomplete, repository(ctx).names())


def databases(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Those of the environment; of all of them, where the shell's half line does not tell which."""
    from inventories import BadEnvironment

    with suppress(Exception):
        found = repository(ctx)
        name = ctx.params.get("environment_name")
        for one in [name] if name else found.names():
            with suppress(BadEnvironment):
                yield from _begin_with(incomplete, found.read(one).databases)


def jobs(incomplete: str) -> Iterator[str]:
    from jobs.registry import JOBS

    yield from _begin_with(incomplete, JOBS)


EnvironmentName = Annotated[
    str,
    typer.Argument(metavar="ENV", help="The environment, as in inventories/ENV.toml.", autocompletion=_environments),
]
EnvironmentNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENV", help="The environments; left out: all.", autocompletion=_environments),
]
DatabaseName = Annotated[
    str, typer.Argument(metavar="DATABASE", help="The database's name in the file.", autocompletion=databases)
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="The kind of work.", autocompletion=jobs)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
