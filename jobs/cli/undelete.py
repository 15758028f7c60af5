"""`crew backups undelete`: bring back a backup set that was deleted or changed in a bucket with versioning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import AsJson, DatabaseName, DryRun, EnvironmentName, YesTo
from jobs.format import format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup import Set
    from jobs.store import ListedKey, PastStore, Store

SetToBringBack = Annotated[
    str, typer.Option("--set", metavar="ID", help="Backup set: its ID or the ID's last four characters.")
]
LastGood = Annotated[
    str,
    typer.Option(
        "--store-as-of",
        metavar="TIME",
        help="A time at which the set was whole: 2026-11-20, 02:00, '2026-11-20 03:00'.",
    ),
]


def undelete_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: SetToBringBack,
    store_as_of: LastGood,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Do not ask; required without a terminal. A protected environment needs --yes-to instead."
        ),
    ] = False,
    yes_to: YesTo = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring back a backup set that was deleted or changed.

    Needs a bucket with versioning. Copies the versions of the set that were current then over those of today, and locks
    them again. At that time, the set must have been signed by a trusted key, with all its pieces. Deletes nothing.
    """
    from jobs.backup import choose_set, lost_objects, open_set, piece_hashes, require_pieces, sets_of

    environment = arguments.open_environment(ctx, environment_name)
    past, present = arguments.past_store(environment, None, store_as_of), arguments.unmarked_store(environment)
    selected = choose_set(sets_of(environment, past, database), database, set_id, now=datetime.now(UTC))
    stored = open_set(past, selected, None)
    require_pieces(stored)
    lost = lost_objects(past, present, selected.prefix, piece_hashes(stored))
    if lost and not dry_run:
        _confirm(environment, f"bring back set {selected.id} of {database}", yes=yes, yes_to=yes_to)
        _bring_back(environment, past, present, selected, lost)
    if as_json:
        output.print_json(_as_json(environment, selected, lost, dry_run=dry_run))
        return
    what = f"{plural(len(lost), 'object')}, {format_size(sum(entry.size for entry in lost))}"
    if not lost:
        output.say(f"Set {selected.id} of {database} is as it was then: nothing to bring back.")
    elif dry_run:
        output.say(f"Would bring back set {selected.id} of {database}: {what}.")
    else:
        names = f"{environment.name} {database} --set {selected.id}"
        output.say(f"Set {selected.id} of {database} is back: {what}.", output.GOOD)
        output.say(f"To check it: crew backups verify {names}")
        output.say(f"If no rule of keep covers it, retention removes it. To prevent that: crew backups pin {names}")


def _confirm(environment: Environment, action: str, *, yes: bool, yes_to: str | None) -> None:
    undone = "nothing was brought back"
    if environment.protected:
        prompts.confirm_protected(environment.name, f"{environment.name} is protected", action, undone, yes_to=yes_to)
    else:
        prompts.confirm(action, undone, yes=yes)


def _bring_back(
    environment: Environment, past: PastStore, present: Store, selected: Set, lost: Sequence[ListedKey]
) -> None:
    """Bring back the set, and the mark of the store if it is gone; then check that the set is whole."""
    from inventories import Keep
    from jobs.backup import (
        bring_back_objects,
        is_known,
        lock_of_new_set,
        lock_present_objects,
        lost_objects,
        open_set,
        require_pieces,
        section_of,
    )
    from jobs.run import recorded, unrecorded_run
    from jobs.store import mark_key

    is_in_file = is_known(environment, selected.database)
    keep = section_of(environment, selected.database)[0].keep if is_in_file else Keep()
    lock = lock_of_new_set(environment.store, keep, datetime.now(UTC))
    with (
        unrecorded_run(environment, present, "undelete", selected.database) as run,
        recorded(run, "undelete", selected.database, f"set {selected.id} from {past.url}"),
    ):
        bring_back_objects(past, lost_objects(past, present, mark_key(environment.name)), None, run.check)
        if lock is not None:
            lock_present_objects(past, present, selected.prefix, lost, lock)
        bring_back_objects(past, lost, lock, run.check)
        require_pieces(open_set(present, selected, None))


def _as_json(environment: Environment, selected: Set, lost: Sequence[ListedKey], *, dry_run: bool) -> dict[str, Any]:
    return {
        "environment": environment.name,
        "database": selected.database,
        "set": selected.id,
        "objects": [entry.key for entry in lost],
        "bytes": sum(entry.size for entry in lost),
        "dry_run": dry_run,
    }
