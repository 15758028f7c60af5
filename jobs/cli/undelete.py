"""`crew backups undelete`: bring back a backup set that was deleted or changed in a bucket with versioning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import AsJson, DatabaseName, DryRun, EnvironmentName, YesTo
from jobs.format import format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup import Set
    from jobs.store import ListedKey, ObjectLock, PastStore, Store

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
    them again. At that time, the set must have been signed by a trusted key, with all its pieces. Deletes nothing, and
    pins the set, so that retention does not remove it again.
    """
    environment = arguments.open_environment(ctx, environment_name)
    past, present = arguments.past_store(environment, None, store_as_of), arguments.unmarked_store(environment)
    plan = _plan(environment, past, present, database, set_id)
    if not plan.is_done and not dry_run:
        verb = "bring back" if plan.lost else "lock"
        _confirm(environment, f"{verb} set {plan.set.id} of {database}", yes=yes, yes_to=yes_to)
        _bring_back(environment, past, present, plan)
    if as_json:
        output.print_json(_document(plan, dry_run=dry_run))
        return
    output.say(_sentence(plan, dry_run=dry_run), "" if plan.is_done or dry_run else output.GOOD)
    if plan.lost and not dry_run:
        names = f"{environment.name} {database} --set {plan.set.id}"
        output.say(f"To check it: crew backups verify {names}")
        output.say(
            f"Retention keeps it, because it is pinned. To let it follow the rules of keep: crew backups unpin {names}"
        )


class _Plan(NamedTuple):
    """What brings a set back."""

    set: Set
    names: Sequence[str]
    """The names of its objects then."""
    lost: Sequence[ListedKey]
    lock: ObjectLock | None
    unlocked: Sequence[str]
    """The names of objects that need a lock and have none, if no object is lost. An interrupted run leaves them."""

    @property
    def is_done(self) -> bool:
        return not self.lost and not self.unlocked


def _plan(environment: Environment, past: PastStore, present: Store, database: str, set_id: str) -> _Plan:
    from inventories import Keep
    from jobs.backup import (
        choose_set,
        is_known,
        lock_of_new_set,
        lost_objects,
        open_set,
        piece_hashes,
        require_pieces,
        section_of,
        sets_of,
        unlocked_names,
    )
    from jobs.run import unrecorded_run

    now = datetime.now(UTC)
    selected = choose_set(sets_of(environment, past, database), database, set_id, now=now)
    stored = open_set(past, selected, None)
    require_pieces(stored)
    with unrecorded_run(environment, present, "undelete", database) as run:

        def progress(done: int, total: int) -> None:
            run.check()
            if not done:
                output.say_to_stderr(f"Reading {format_size(total)} to compare objects of which only the ETag changed.")
            run.progress("compared", done, total)

        lost = lost_objects(past, present, selected.prefix, piece_hashes(stored), progress)
    names = [entry.key.removeprefix(selected.prefix) for entry in past.list(selected.prefix)]
    keep = section_of(environment, database)[0].keep if is_known(environment, database) else Keep()
    lock = lock_of_new_set(environment.store, keep, now)
    unlocked = unlocked_names(present, selected, names) if lock is not None and not lost else []
    return _Plan(selected, names, lost, lock, unlocked)


def _confirm(environment: Environment, action: str, *, yes: bool, yes_to: str | None) -> None:
    undone = "nothing was changed"
    if environment.protected:
        prompts.confirm_protected(environment.name, f"{environment.name} is protected", action, undone, yes_to=yes_to)
    else:
        prompts.confirm(action, undone, yes=yes)


def _bring_back(environment: Environment, past: PastStore, present: Store, plan: _Plan) -> None:
    """Bring back the set, and the mark of the store if it is gone; check that the set is whole, and lock it.

    The pin comes first: retention would remove an old set that is incomplete, or that no rule covers. The results of
    verifications come last, because not all credentials that write sets may write results.
    """
    from jobs.backup import PIN, RESULTS, bring_back_objects, lock_set, lost_objects, open_set, require_pieces
    from jobs.run import recorded, unrecorded_run
    from jobs.store import mark_key

    database, set_id = plan.set.database, plan.set.id
    results = [entry for entry in plan.lost if entry.key.startswith(plan.set.prefix + RESULTS)]
    with (
        unrecorded_run(environment, present, "undelete", database) as run,
        recorded(run, "undelete", database, f"set {set_id} from {past.url}"),
    ):
        bring_back_objects(past, lost_objects(past, present, mark_key(environment.name)), run.check)
        if plan.lost:
            present.put(plan.set.prefix + PIN, b"")
        bring_back_objects(past, [entry for entry in plan.lost if entry not in results], run.check)
        require_pieces(open_set(present, plan.set, None))
        if plan.lock is not None:
            with _back_but(plan, "some of its objects are not locked", "run this again"):
                lock_set(present, plan.set, plan.names, plan.lock, run.check)
        with _back_but(plan, "not its results of verifications", "run this again, or verify the set"):
            bring_back_objects(past, results, run.check)


@contextmanager
def _back_but(plan: _Plan, lack: str, remedy: str) -> Iterator[None]:
    """Say in an error of the store that the set itself is back."""
    from jobs.backup import BackupError
    from jobs.store import StoreError

    try:
        yield
    except StoreError as error:
        raise BackupError(
            f"set {plan.set.id} of {plan.set.database} is back, but {lack}: {error}; then {remedy}"
        ) from None


def _sentence(plan: _Plan, *, dry_run: bool) -> str:
    name = f"{plan.set.id} of {plan.set.database}"
    if plan.lost:
        what = f"{plural(len(plan.lost), 'object')}, {format_size(sum(entry.size for entry in plan.lost))}"
        return f"Would bring back set {name}: {what}." if dry_run else f"Set {name} is back and pinned: {what}."
    if plan.unlocked:
        what = plural(len(plan.unlocked), "object")
        return (
            f"Would lock set {name}: {what} without a lock." if dry_run else f"Set {name} is locked: {what} had none."
        )
    return f"Set {name} is as it was then: nothing to bring back."


def _document(plan: _Plan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "environment": plan.set.environment,
        "database": plan.set.database,
        "set": plan.set.id,
        "objects": [entry.key for entry in plan.lost],
        "bytes": sum(entry.size for entry in plan.lost),
        "unlocked": list(plan.unlocked),
        "dry_run": dry_run,
    }
