"""Which role a superuser restores for, and a temporary role that executes what the set brings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from jobs.backup.errors import BackupError, NeedsSuperuser
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.definitions import require_own, require_restorable, statements_of_set
from jobs.backup.restore.ordinary_role import (
    OrdinaryRole,
    database_owner,
    is_superuser,
    ordinary_role,
    require_ordinary,
)
from jobs.backup.restore.roles import RoleStatement, makes_superuser, missing_roles
from jobs.backup.restore.target import RestoreTarget
from jobs.backup.restore.task import RestoreTask
from jobs.backup.restore.temporary_role import TEMPORARY_ROLES, LoginRefused, temporary_role
from jobs.backup.sets.stored import StoredSet

LACKS_RIGHTS = re.compile(r"permission denied|must be (owner|member|superuser)|must have|only superuser")


@dataclass(frozen=True, slots=True)
class ChosenOwner:
    """The role that owns what a superuser restores, while a temporary role executes what the set brings."""

    name: str
    by_default: bool = True
    option: str = "--as"
    """The option that names another owner."""


def owner_by_default(
    stored: StoredSet, into: Endpoint, target: RestoreTarget, *, adds_to_database: bool
) -> ChosenOwner | None:
    """Return the owner of the database, if a superuser restores it and the owner is no superuser."""
    if not target.superuser:
        return None
    owner = (present_owner(into) if adds_to_database else None) or stored.description.settings.owner
    if owner in target.roles:
        superuser = is_superuser(into, owner)
    else:
        superuser = makes_superuser(missing_role_statements(stored, target), owner)
    return None if superuser else ChosenOwner(owner)


def present_owner(into: Endpoint) -> str | None:
    """Return the owner of the database; None if it does not exist, or if a killed restore has left it."""
    owner = database_owner(into)
    return None if owner is not None and owner.startswith(TEMPORARY_ROLES) else owner


def missing_role_statements(stored: StoredSet, target: RestoreTarget) -> Sequence[RoleStatement]:
    """Return the statements of the set for the roles that the server lacks."""
    return missing_roles(statements_of_set(stored), target.roles)


def require_restorable_for(
    task: RestoreTask, target: RestoreTarget, owner: ChosenOwner, selected: Collection[int] | None = None
) -> None:
    """Raise if the set, or the selected entries of it, need more than this owner, and name what needs more."""
    if not owner.by_default:
        require_ordinary(task.into, target, owner.name, option=owner.option)
        require_restorable(task, owner.name)
        return
    created = (statement.role for statement in missing_role_statements(task.stored, target))
    if owner.name not in {*target.roles, *created}:
        raise BackupError(
            f"{owner.name}, the owner of the database, does not exist on this server; "
            f"CREATE ROLE {quoting.identifier(owner.name)}, or name another owner: --as ROLE"
        )
    try:
        require_own(task, selected)
    except NeedsSuperuser as error:
        choices = [
            f"If you trust {owner.name}, the owner of the database, add: --as {target.user} (functions of the set then "
            "run as this superuser)"
        ]
        with suppress(BackupError):
            require_restorable(task, owner.name)
            choices.append(f"Or add: --as {owner.name} (this role then owns everything)")
        raise NeedsSuperuser(". ".join([str(error), *choices])) from None


@contextmanager
def executed_for(
    task: RestoreTask, target: RestoreTarget, owner: ChosenOwner | None, *, is_member: bool = False, beside: str = ""
) -> Iterator[RestoreTask]:
    """Provide the task with a temporary role that restores for this owner, if there is one.

    A server can refuse its login, for example by peer authentication. Then the role of --as logs in itself; without
    --as, the superuser restores everything.
    """
    if owner is None:
        yield task
        return
    with ExitStack() as stack:
        try:
            role: OrdinaryRole | None = stack.enter_context(
                temporary_role(task.into, owner.name, is_member=is_member, keeps_owners=owner.by_default, beside=beside)
            )
        except LoginRefused as error:
            role = None if owner.by_default else ordinary_role(task.into, target, owner.name, None, option=owner.option)
            if role is None:
                task.run.log.warning(f"functions of the set run as the superuser {target.user}", why=str(error))
        try:
            yield with_role(task, role)
        except BackupError as error:
            if role is None or not owner.by_default or not LACKS_RIGHTS.search(str(error)):
                raise
            raise type(error)(
                f"{error}; a role with the rights of {owner.name} restores this set. If you trust this owner of the "
                f"database, let the superuser do it: --as {target.user}"
            ) from None


def with_role(task: RestoreTask, role: OrdinaryRole | None) -> RestoreTask:
    """Return the task with the role that executes what the set brings; None: that of the connection."""
    if role is None:
        return task
    options = replace(task.options, owners=False, subscriptions=False)
    return replace(task, role=role, options=options)
