"""Which files of an environment the user of exported units cannot read. Pure."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from inventories import Environment
from jobs.checks.secrets import secrets_in
from jobs.schedule.export.needs import writable_folders

_HIDDEN_BY_SYSTEMD = (Path("/home"), Path("/root"), Path("/run/user"))

Stat = Callable[[Path], os.stat_result | None]


@dataclass(frozen=True, slots=True)
class UnitUser:
    """The user that runs the units, as far as this machine knows it."""

    name: str
    uid: int | None = None
    groups: Collection[int] = ()


def named_paths(environment: Environment) -> Iterator[tuple[str, Path]]:
    """Yield the files and directories that an environment names on the machine of its jobs, with their keys."""
    for key, secret in secrets_in(environment):
        if secret.file is not None:
            yield key, secret.file
    for name, refresh in environment.refresh.items():
        yield f"refresh.{name}.sanitise", refresh.sanitise
    for kind in ("servers", "databases"):
        for name, source in getattr(environment, kind).items():
            if source.verify_with is not None:
                yield f"{kind}.{name}.verify_with", source.verify_with
    for name, stanza in environment.pitr.items():
        yield f"pitr.{name}.config", stanza.config
        for database, script in stanza.verify_with.items():
            yield f"pitr.{name}.verify_with.{database}", script
    for folder in writable_folders(environment):
        yield "store.url or metrics.textfile", Path(folder)


def unreadable_paths(environment: Environment, user: UnitUser, find: Stat, *, systemd: bool) -> list[str]:
    """Return a sentence for each path that the units cannot read."""
    sentences = []
    for key, path in dict(named_paths(environment)).items():
        if systemd and any(hidden in (path, *path.parents) for hidden in _HIDDEN_BY_SYSTEMD):
            sentences.append(
                f"{path} ({key}): the units cannot see it, because ProtectHome= hides home directories. "
                f"Move it, for example to /etc/groundcrew, and change the environment file"
            )
        elif user.uid is not None and (closed := _first_closed(path, user, find)):
            sentences.append(f"{path} ({key}): user {user.name} cannot read {closed}; change its owner or mode")
    return sentences


def _first_closed(path: Path, user: UnitUser, find: Stat) -> Path | None:
    """Return the first part of a path that keeps a user from it; None if it is readable or does not exist here."""
    for level in reversed([path, *path.parents]):
        found = find(level)
        if found is None:
            return None
        wanted = stat.S_IROTH if level == path else stat.S_IXOTH
        if user.uid == found.st_uid:
            wanted <<= 6
        elif found.st_gid in user.groups:
            wanted <<= 3
        if user.uid != 0 and not found.st_mode & wanted:
            return level
    return None
