"""Arguments that commands share, the common shape of a command, and access to the environment it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType

from inventories import CrewError, ExitCode

if TYPE_CHECKING:
    from datetime import datetime

    from inventories import Environment, Repository
    from jobs.store import PastStore, Store


class WrongUsage(CrewError):
    """The command line is not valid; the message says what is."""

    exit_code = ExitCode.WRONG_USAGE


class NotConfigured(CrewError):
    """The environment file lacks what the command needs; the message says what to add."""

    exit_code = ExitCode.BAD_CONFIGURATION


class PlainUsageCommand(TyperCommand):
    """A command whose usage line shows required arguments without braces: `crew check [OPTIONS] ENV`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class App(typer.Typer):
    """An app whose commands are PlainUsageCommands."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Return a decorator that registers a command."""
        return super().command(name, cls=PlainUsageCommand, **settings)


def new_app(*, group_help: str = "", group_examples: Sequence[str] = ()) -> App:
    """Return an empty app. With `group_help` it is a group of commands, even while it has only one."""
    app = App(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=bool(group_help),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    if group_help:
        app.callback(help=group_help, epilog=examples(*group_examples))(lambda: None)
    return app


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's help, one command a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def find_repository(ctx: typer.Context) -> Repository:
    """Return the repository that --root, $CREW_ROOT or the current directory leads to."""
    from inventories import Repository

    return Repository.find(root_option(ctx))


def root_option(ctx: typer.Context) -> Path | None:
    """Return the value of --root."""
    value = ctx.find_root().params.get("root")
    return Path(value) if value else None


def open_environment(ctx: typer.Context, name: str) -> Environment:
    """Return the environment of this name; BadEnvironment lists every fault of its file."""
    return find_repository(ctx).read(name)


def environment_store(environment: Environment, job: str | None = None) -> Store:
    """Return the store of an environment; NotConfigured if it has none, NotMarked if it was not made for it."""
    from jobs.store import require_mark

    store = unmarked_store(environment, job)
    require_mark(store, environment.name)
    return store


def sets_store(environment: Environment, copy: str | None, job: str | None = None, as_of: str | None = None) -> Store:
    """Return the store that has the sets: that of the environment, or of the copy that --from names.

    With --store-as-of, the store is read as it was then.
    """
    if as_of is not None:
        return past_store(environment, copy, as_of)
    if copy is None:
        return environment_store(environment, job)
    from jobs.backup import find_copy, open_copy

    return open_copy(environment, find_copy(environment, copy), job)


def past_store(environment: Environment, copy: str | None, as_of: str) -> PastStore:
    """Return the store of an environment or of a copy as it was at the time of --store-as-of."""
    from jobs.backup import find_copy
    from jobs.store import NotMarked, open_store, require_mark

    moment = past_moment(environment, as_of)
    present = unmarked_store(environment) if copy is None else open_store(find_copy(environment, copy))
    past = present.as_of(moment)
    try:
        require_mark(past, environment.name)
    except NotMarked:
        raise NotMarked(f"{past.url}: the store was not made for {environment.name} then; use a later time") from None
    return past


def past_moment(environment: Environment, as_of: str) -> datetime:
    """Return the time that --store-as-of names."""
    from datetime import UTC, datetime

    from jobs.backup import parse_time

    now = datetime.now(UTC)
    moment = parse_time(as_of, environment.timezone, now, "--store-as-of")
    if moment > now:
        raise WrongUsage(f"--store-as-of {as_of}: this time is in the future; name one of the past")
    return moment


def subjects_in(environment: Environment, database: str | None, copy: str | None) -> tuple[str, ...]:
    """Return what --only would name: a database, a copy, or a database in a copy; nothing for all databases."""
    from jobs.backup import find_copy

    place = (find_copy(environment, copy).name,) if copy is not None else ()
    return (".".join((*place, database)),) if database else place


def store_for_run(environment: Environment, job: str, *, scheduled: bool = False) -> Store:
    """Return the store for a run. The run itself reports a store that is out of reach or refuses access.

    NotMarked if the store was not made for this environment; a scheduled run alerts people to it first.
    """
    from jobs.run import report_unusable_store
    from jobs.store import NotMarked, StoreError, require_mark

    store = unmarked_store(environment, job)
    try:
        require_mark(store, environment.name)
    except NotMarked as error:
        if scheduled:
            report_unusable_store(environment, job, str(error))
        raise
    except StoreError:
        return store
    return store


def unmarked_store(environment: Environment, job: str | None = None) -> Store:
    """Return the store of an environment, whether it was made for it or not."""
    from jobs.store import open_store

    if environment.store is None:
        raise NotConfigured(
            f"{environment.name}: there is no [store], so jobs cannot run and nothing can be stored. "
            f"Add [store] to inventories/{environment.name}.toml (see: crew init --reference)."
        )
    return open_store(environment.store, job)


def _starting_with(start: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(start)]


def complete_environment(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the name of an environment; print no errors, because a shell is waiting."""
    with suppress(Exception):
        yield from _starting_with(incomplete, find_repository(ctx).names())


def complete_database(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the name of a database of the environment; without an environment, of any."""
    from inventories import BadEnvironment

    with suppress(Exception):
        repository = find_repository(ctx)
        # While an option still lacks its value, the parser has assigned no argument: all words are in ctx.args.
        named = [word for word in (ctx.params.get("environment_name"), *ctx.args) if word in repository.names()]
        for name in named[:1] or repository.names():
            with suppress(BadEnvironment):
                yield from _starting_with(incomplete, repository.read(name).databases)


_JOBS_ON_STACKS = frozenset({"drift", "apply", "destroy", "rollback", "terraform", "unlock"})


def _complete_names(
    ctx: typer.Context, incomplete: str, names: Callable[[Environment], Iterable[str]]
) -> Iterator[str]:
    """Complete one of the names that the environment on the command line has."""
    with suppress(Exception):
        repository = find_repository(ctx)
        for word in (ctx.params.get("environment_name"), *ctx.args):
            if word in repository.names():
                yield from _starting_with(incomplete, names(repository.read(word)))


def complete_copy(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the name of a copy of the environment."""
    yield from _complete_names(ctx, incomplete, lambda environment: environment.copies)


def complete_stack(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the name of a stack of the environment."""
    yield from _complete_names(ctx, incomplete, lambda environment: environment.stacks)


def complete_subject(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the name of a stack for jobs on stacks, of a copy for copy, and of a database for other jobs."""
    words = (ctx.params.get("job_name"), ctx.params.get("job"), *ctx.args[:2])
    if _JOBS_ON_STACKS.intersection(words):
        yield from complete_stack(ctx, incomplete)
    elif "hosts" in words:
        yield from _complete_names(
            ctx, incomplete, lambda environment: environment.hosts.deploys if environment.hosts else ()
        )
    elif "copy" in words:
        yield from _complete_names(ctx, incomplete, _subjects_of_copies)
    else:
        yield from complete_database(ctx, incomplete)


def _subjects_of_copies(environment: Environment) -> list[str]:
    return [
        name for copy in environment.copies for name in (copy, *(f"{copy}.{each}" for each in environment.databases))
    ]


def complete_job(incomplete: str) -> Iterator[str]:
    """Complete the name of a job."""
    from jobs.registry import JOBS

    yield from _starting_with(incomplete, JOBS)


EnvironmentName = Annotated[
    str,
    typer.Argument(metavar="ENV", help="Environment, as in inventories/ENV.toml.", autocompletion=complete_environment),
]
EnvironmentNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENV...", help="Environments (default: all).", autocompletion=complete_environment),
]
DatabaseName = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE", help="Database, as named in the environment file.", autocompletion=complete_database
    ),
]
OptionalDatabase = Annotated[
    str | None,
    typer.Argument(metavar="DATABASE", help="Database (default: all).", autocompletion=complete_database),
]
TrustUnsigned = Annotated[
    str | None,
    typer.Option(
        "--trust-unsigned",
        metavar="ID",
        help="Use this backup set although it is not signed by a trusted key, or not encrypted; instead of --set.",
    ),
]
SetId = Annotated[
    str | None,
    typer.Option(
        "--set",
        metavar="ID",
        help="Backup set: its ID or the ID's last four characters (default: newest trusted that has not failed).",
    ),
]
FromCopy = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="COPY",
        help="Read the sets of this copy, as named under [copies] (default: those of the store).",
        autocompletion=complete_copy,
    ),
]
StoreAsOf = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Read the store as it was at this time (2026-11-20, 02:00, or '2026-11-20 03:00'), before later changes "
        "and deletions. Needs a bucket with versioning.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
YesTo = Annotated[
    str | None,
    typer.Option(metavar="ENV", help="Confirm changes to the protected environment ENV without a prompt."),
]


def named_set(set_id: str | None, trust_unsigned: str | None) -> str | None:
    """Return the set that --set or --trust-unsigned names."""
    if set_id is not None and trust_unsigned is not None:
        raise WrongUsage("--set and --trust-unsigned both name a set; use one of them")
    return set_id or trust_unsigned
