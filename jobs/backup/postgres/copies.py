"""Names of database copies: the one that a restore is filling, and the one that it replaced."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.backup.postgres import quoting

_TIMESTAMP = "%Y%m%d_%H%M%S"  # UTC; a database name with it needs no quotes
_RESTORING = re.compile(r"(.+)_restoring_(\d{8}_\d{6})", re.DOTALL)
_REPLACED = re.compile(r".+_replaced_(\d{8}_\d{6})", re.DOTALL)
_REFRESH_COMMENT = "replaced when groundcrew refreshed {}; the next refresh drops it"
_MIN_AGE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RestoringCopy:
    """A database that a restore fills before it takes the final name. A long final name is cut short here."""

    database: str
    started: datetime


def restoring_name(database: str, at: datetime) -> str:
    """Return the temporary name of a database while a restore fills it."""
    return quoting.clip_name(database, f"_restoring_{at.astimezone(UTC):{_TIMESTAMP}}")


def replaced_name(database: str, at: datetime, taken: Collection[str] = ()) -> str:
    """Return a free name under which a replaced database is kept."""
    name = quoting.clip_name(database, f"_replaced_{at.astimezone(UTC):{_TIMESTAMP}}")
    return replaced_name(database, at + timedelta(seconds=1), taken) if name in taken else name


def parse_restoring_name(name: str) -> RestoringCopy | None:
    """Parse the name of a restoring copy; None for any other database name."""
    match = _RESTORING.fullmatch(name)
    if match is None:
        return None
    with suppress(ValueError):
        return RestoringCopy(match[1], datetime.strptime(match[2], _TIMESTAMP).replace(tzinfo=UTC))
    return None


def abandoned_copies(names: Iterable[str], now: datetime, database: str | None = None) -> list[str]:
    """Return the copies (of one database) that killed restores have left.

    Pass only databases without connections: a running restore is connected to its copy. It connects within the first
    minute, so younger copies are never returned.
    """
    wanted = parse_restoring_name(restoring_name(database, now)) if database is not None else None
    copies = [(name, copy) for name in names if (copy := parse_restoring_name(name))]
    return [
        name
        for name, copy in copies
        if copy.started < now - _MIN_AGE and (wanted is None or copy.database == wanted.database)
    ]


def is_replaced_name(name: str, database: str) -> bool:
    """Whether replaced_name() has made this name for this database."""
    match = _REPLACED.fullmatch(name)
    if match is None or name == database:
        return False
    with suppress(ValueError):
        return name == replaced_name(database, datetime.strptime(match[1], _TIMESTAMP).replace(tzinfo=UTC))
    return False


def refresh_comment(database: str) -> str:
    """Return the comment that marks a database as replaced by a refresh.

    A refresh drops only databases that have this comment and a name from replaced_name().
    """
    return _REFRESH_COMMENT.format(database)


def without_refresh_comment(comment: str | None) -> str | None:
    """Return a comment; None if it marks a database that a refresh replaced. Such a mark must never be copied."""
    start, _, end = _REFRESH_COMMENT.partition("{}")
    return None if comment is not None and comment.startswith(start) and comment.endswith(end) else comment
