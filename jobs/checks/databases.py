"""Does every database and server let us in, and is there a pg_dump for it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.run.job import Failed, Transient
from jobs.store import Store, open_store

if TYPE_CHECKING:
    import psycopg

    from jobs.backup.postgres.connection import Reached, Target
    from jobs.backup.postgres.tunnel import Via


@dataclass(frozen=True, slots=True)
class Address:
    """A database that is only written to: an address and its password."""

    url: str
    password: Secret | None = None
    via: Via | None = None


def checks(environment: Environment) -> Iterator[Check]:
    """Each address that is connected to; without a store nothing can be done with any."""
    if environment.store is None:
        return
    store = open_store(environment.store)
    for name, server in environment.servers.items():
        yield _check(f"server {name}", environment, store, server, dumped=True)
    for name, database in environment.databases.items():
        yield _check(f"database {name}", environment, store, database, dumped=True)
    for name, refresh in environment.refresh.items():
        yield _check(f"refresh {name}", environment, store, Address(refresh.into, refresh.password), dumped=False)
    if scratch := environment.verify.scratch:
        yield _check("verify scratch", environment, store, Address(scratch, environment.verify.password), dumped=False)


def _check(what: str, environment: Environment, store: Store, target: Target, *, dumped: bool) -> Check:
    return Check(what, partial(check_connection, environment, store, what, target, dumped=dumped))


def check_connection(environment: Environment, store: Store, what: str, target: Target, *, dumped: bool) -> CheckResult:
    """Connect, and see whether the role can read all that is to be dumped, and a pg_dump here fits the server."""
    from jobs.backup.postgres import privileges, quoting
    from jobs.backup.postgres.connection import reach
    from jobs.backup.postgres.copies import abandoned_copies
    from jobs.backup.restore.target import unused
    from jobs.run import unrecorded_run

    with (
        unrecorded_run(environment, store, "check", what) as run,
        reach(run, target) as found,
        _connected(found) as connection,
    ):
        server, user = connection.info.server_version, connection.info.user
        if dumped and (lacks := list(privileges.lacking(connection))):
            return fault(f"{user} can log in, but {', '.join(lacks)}", privileges.NEEDED)
        left = abandoned_copies(unused(connection), datetime.now(UTC))
    fact = (
        f"PostgreSQL {server // 10000}.{server % 10000} at {found.parameters.get('host', 'the socket')} lets {user} in"
    )
    fact = f"{fact}; {_fitting(server // 10000)}" if dumped else fact
    if not left:
        return ok(fact)
    drop = "; ".join(f"DROP DATABASE {quoting.name(name)}" for name in left)
    return warn(
        f"{fact}; restores that were killed have left {', '.join(left)} there",
        f"the next restore of the same database clears up, or: {drop}",
    )


def _connected(found: Reached) -> psycopg.Connection[Any]:
    try:
        return found.connect()
    except Transient as error:
        raise Transient(
            f"{error}; see its address in the file, and whether a firewall or a tunnel (via) lets us to it"
        ) from None
    except Failed as error:
        raise Failed(f"{error}; see user, password and database in the file, and the server's pg_hba.conf") from None


def _fitting(major: int) -> str:
    """The pg_dump that would be taken; NoProgram says what to install."""
    from jobs.backup.postgres.programs import dumper, installed

    return f"pg_dump {dumper(major, installed('pg_dump')).version} fits"
