"""`crew backups copy`: copy a whole store once, to move to another bucket or provider."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, DryRun, EnvironmentName, OptionalDatabase, WrongUsage
from jobs.format import and_more, format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.copies.move import MovedDatabase

_SHOWN = 3

To = Annotated[str, typer.Option("--to", metavar="URL", help="New place: s3://bucket/prefix or file:///directory.")]
Region = Annotated[str, typer.Option(metavar="REGION", help="AWS region of the new bucket.", show_default=False)]
Endpoint = Annotated[str, typer.Option(metavar="URL", help="URL of an S3-compatible server.", show_default=False)]
Profile = Annotated[str, typer.Option(metavar="NAME", help="AWS profile for the new bucket.", show_default=False)]
MaxParts = Annotated[int, typer.Option(metavar="N", min=10, max=10_000, help="Maximum number of parts in one upload.")]


def copy_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: OptionalDatabase = None,
    *,
    to: To,
    region: Region = "",
    endpoint: Endpoint = "",
    profile: Profile = "",
    max_parts: MaxParts = 10_000,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Copy a store once, to move it to another place.

    Copies every complete set that a trusted key signed, with its pins, tags and results of verifications, and checks
    the hash of each piece on the way. Without DATABASE, also copies run records, locks, alerts, saved states and plans.
    Run it again to copy what is new. Deletes nothing. Exits with 2 if a set could not be copied.
    """
    from jobs.backup import databases_with_sets
    from jobs.copies.move import NewPlace, documents_to_move, make_new_place, move_database, move_documents
    from jobs.run import Options, recorded, unrecorded_run
    from jobs.store import open_store

    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.environment_store(environment, "copy")
    place = NewPlace(_store_url(environment, to, endpoint), region, endpoint, profile, max_parts)
    target, subject = open_store(place), database or "all"
    with unrecorded_run(environment, store, "copy", subject, Options(dry_run=dry_run)) as run:
        if not dry_run:
            make_new_place(store, target, environment)
        with nullcontext() if dry_run else recorded(run, "copy", subject, f"to {place.url}", lasting=False):
            names = [database] if database else databases_with_sets(environment, store)
            moved = [move_database(run, target, name) for name in names]
            keys = [] if database else list(documents_to_move(store, target, environment.name))
            if not dry_run:
                move_documents(run, target, keys)
    if as_json:
        output.print_json(
            {
                "environment": environment.name,
                "to": place.url,
                "dry_run": dry_run,
                "databases": [moved_database_as_json(each) for each in moved],
                "documents": len(keys),
            }
        )
    else:
        _print(environment, place.url, moved, None if database else len(keys), dry_run=dry_run)
    return ExitCode.FINDING if any(each.problems for each in moved) else ExitCode.DONE


def _store_url(environment: Environment, url: str, endpoint: str) -> str:
    """Return the URL of --to, if it can be that of another store."""
    from inventories.reading import InvalidValue, Position
    from inventories.value_types import STORE_URL

    try:
        place = STORE_URL.read(url, Position("--to", Path()))
    except InvalidValue as error:
        raise WrongUsage(f"--to: {error}") from None
    store = environment.store
    if store is not None and (store.url, store.endpoint) == (place, endpoint):
        raise WrongUsage(f"--to: {place} is the store of {environment.name} itself; name another bucket or prefix")
    return place


def moved_database_as_json(moved: MovedDatabase) -> dict[str, Any]:
    """Return for --json what was copied of a database, or would be."""
    return {
        "database": moved.database,
        "copied": [each.id for each in moved.copied],
        "bytes": moved.bytes,
        "sets": moved.sets,
        "left": [each.id for each in moved.left],
        "problems": list(moved.problems),
    }


def _print(
    environment: Environment, url: str, moved: Sequence[MovedDatabase], documents: int | None, *, dry_run: bool
) -> None:
    header = ("database", "would copy" if dry_run else "copied", "size", "then has" if dry_run else "has", "not copied")
    rows = [
        (each.database, plural(len(each.copied), "set"), format_size(each.bytes), str(each.sets), _left(each))
        for each in moved
    ]
    output.table(rows, header)
    for problem in (problem for each in moved for problem in each.problems):
        output.say(problem, output.BAD)
    if documents is not None:
        copies = "Would copy" if dry_run else "Copied"
        output.say(f"{copies} {plural(documents, 'document')}: run records, locks, alerts, saved states and plans.")
    if not dry_run and documents is not None:
        output.say(f"To move there: write {url} into [store] of {environment.name}.toml, then crew check "
                   f"{environment.name} and crew backups verify {environment.name}.", output.GOOD)  # fmt: skip


def _left(moved: MovedDatabase) -> str:
    """Return the sets that were not copied because they are of no use, or are damaged."""
    names = and_more([each.id for each in moved.left], _SHOWN)
    unusable = [f"incomplete or untrusted: {names}"] if moved.left else []
    return "; ".join([*unusable, *([f"{len(moved.problems)} damaged"] if moved.problems else [])])
