"""Which subjects of earlier runs are gone: from the environment file, or from the server that had them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from urllib.parse import unquote

from inventories import Environment
from jobs.run.latest import RunSummary
from jobs.run.lease import Holder

SHOWN_FOR = timedelta(days=7)


class Gone(Enum):
    """Where a subject is gone from. A silenced one is not shown at all."""

    FROM_FILE = "no longer in the file"
    FROM_SERVER = "no longer on the server"
    FROM_STORE = "has no backups any more"
    SILENCED = "excluded in the file"


HasSubject = Callable[[str, str], bool]


def gone_subjects(
    environment: Environment,
    last: Mapping[str, RunSummary],
    locks: Mapping[str, Holder],
    due: Mapping[str, datetime | None],
    *,
    has_subject: HasSubject,
    now: datetime,
) -> dict[str, Gone]:
    """Return the subjects by `<job>/<subject>` that are gone; those of running jobs never are."""
    found = {}
    for name in {*last, *locks}:
        lock = locks.get(name)
        if lock and not lock.released and not lock.expired(now):
            continue
        job, _, subject = name.partition("/")
        server, _, database = subject.partition(".")
        if server in environment.servers and is_excluded(environment, server, unquote(database)):
            found[name] = Gone.SILENCED
        elif not has_subject(job, subject):
            found[name] = Gone.FROM_FILE
        elif (server in environment.servers or server in environment.copies) and _others_ran_without(
            name, server, last, locks, due.get(name)
        ):
            # The server or copy itself is a subject only while its databases cannot be listed.
            where = Gone.FROM_SERVER if server in environment.servers else Gone.FROM_STORE
            found[name] = where if database else Gone.SILENCED
    return found


def is_excluded(environment: Environment, server: str, database: str) -> bool:
    """Whether `exclude` of a server matches a database."""
    return any(fnmatchcase(database, pattern) for pattern in environment.servers[server].exclude)


def _others_ran_without(
    name: str, server: str, last: Mapping[str, RunSummary], locks: Mapping[str, Holder], due: datetime | None
) -> bool:
    """Whether the job ran on the server's other databases at the last scheduled time, but not on this one.

    A run by hand can be of one database, so it shows nothing about others. A lock that was not released shows that the
    run still works, or was killed before the turn of this database. A signal, too, ends a run before its last turns.
    """
    own = last.get(name)
    if due is None or own is None or own.ended >= due or own.tick == due:
        return False
    killed = locks.get(name)
    if killed and not killed.released and (killed.since >= due or killed.tick == due):
        return False
    job = name.partition("/")[0]
    others = [other for other in _databases_of(server, job, {*last, *locks}) if other != name]
    if any(other in locks and not locks[other].released for other in others):
        return False
    newest = [
        *(last.get(other) for other in others),
        *(locks[other].runs.of_tick for other in others if other in locks),
    ]
    ran = [run for run in newest if run and run.tick == due]
    return bool(ran) and not any(run.ended_by_signal for run in ran)


def _databases_of(server: str, job: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(f"{job}/{server}.")]


def last_seen(subject: str, last: Mapping[str, RunSummary]) -> datetime | None:
    """Return the end of the newest run of any job on a subject."""
    return max((run.ended for name, run in last.items() if name.partition("/")[2] == subject), default=None)
