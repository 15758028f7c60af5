"""Check that every database and server accepts our connection and has a matching pg_dump on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from inventories import Environment, ServerSettings
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.format import format_duration
from jobs.run.job import Failed, Transient
from jobs.store import Store, open_store

if TYPE_CHECKING:
    import psycopg

    from inventories import DatabaseSettings
    from jobs.backup import Address, ConnectionTarget, Endpoint

    Section = DatabaseSettings | ServerSettings

_EXTENSIONS = "SELECT extname FROM pg_catalog.pg_extension"


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each address that jobs connect to; without a store there are no such jobs."""
    from jobs.backup import Address

    if environment.store is None:
        return
    store = open_store(environment.store)
    for kind, sections in (("server", environment.servers), ("database", environment.databases)):
        for name, section in sections.items():
            yield _check(f"{kind} {name}", environment, store, section, dumped=True)
            if section.standby:
                label = f"{kind} {name}: standby"
                yield Check(label, partial(check_standby_of, environment, store, label, section))
    for name, refresh in environment.refresh.items():
        address = Address(refresh.into, refresh.password)
        target = partial(check_refresh_target, environment, store, f"refresh {name}", address, refresh.restore_as)
        yield Check(f"refresh {name}", target)
    if scratch := environment.verify.scratch:
        yield _check("verify scratch", environment, store, Address(scratch, environment.verify.password), dumped=False)


def _check(name: str, environment: Environment, store: Store, target: ConnectionTarget, *, dumped: bool) -> Check:
    return Check(name, partial(check_connection, environment, store, name, target, dumped=dumped))


def check_connection(
    environment: Environment, store: Store, name: str, target: ConnectionTarget, *, dumped: bool
) -> CheckResult:
    """Connect and look for abandoned copies; for a database that is dumped, check privileges and pg_dump too."""
    from jobs.backup import (
        NEEDED_PRIVILEGES,
        ONE_DATABASE,
        abandoned_copies,
        identifier,
        lacking_extensions,
        missing_privileges,
        reach,
        translated_errors,
        unconnected_databases,
    )
    from jobs.run import unrecorded_run

    with (
        unrecorded_run(environment, store, "check", name) as run,
        reach(run, target) as endpoint,
        translated_errors(),
        _connect(endpoint) as connection,
    ):
        server, user = connection.info.server_version, connection.info.user
        if dumped and (missing := list(missing_privileges(connection))):
            return fault(f"connected as {user}, but {', '.join(missing)}", NEEDED_PRIVILEGES)
        extensions = [name for (name,) in connection.execute(_EXTENSIONS).fetchall()] if dumped else []
        abandoned = abandoned_copies(unconnected_databases(connection), datetime.now(UTC))
    host = endpoint.parameters.get("host", "the local socket")
    fact = f"PostgreSQL {server // 10000}.{server % 10000} at {host}: connected as {user}"
    fact = f"{fact}; {_matching_pg_dump(server // 10000)} matches" if dumped else fact
    if only_once := sorted(ONE_DATABASE.keys() & set(extensions)):
        fact += f"; {', '.join(only_once)}: restore into an empty database, without --create and --replace"
    if (
        not abandoned
        and not environment.verify.scratch
        and (lacking := lacking_extensions(extensions, server // 10000))
    ):
        return warn(
            f"{fact}; verifications on this machine lack extensions", f"install {lacking}, or set scratch in [verify]"
        )
    if not abandoned:
        return ok(fact)
    drop = "; ".join(f"DROP DATABASE {identifier(name)}" for name in abandoned)
    return warn(
        f"{fact}; killed restores left {', '.join(abandoned)} on the server",
        f"the next restore of the same database drops them, or run: {drop}",
    )


def check_standby_of(environment: Environment, store: Store, name: str, section: Section) -> CheckResult:
    """Check that backups can be taken from the standby of a section."""
    from jobs.backup import Address, identity_on_primary, reach, read_standby, standby_fault
    from jobs.run import unrecorded_run

    with (
        unrecorded_run(environment, store, "check", name) as run,
        reach(run, Address(section.standby, section.password, section.via)) as endpoint,
    ):
        found = read_standby(endpoint)
        of_server = isinstance(section, ServerSettings)  # its backups name a database themselves
        primary, unknown = identity_on_primary(run, section, endpoint.database if of_server else None)
    host = endpoint.parameters.get("host", "the local socket")
    if problem := standby_fault(found, primary):
        return warn(f"{host}: {problem}, so backups are taken from the primary", "repair it, or correct standby")
    return ok(f"{host} streams from its primary, {format_duration(found.lag)} behind{unknown}")


def check_refresh_target(
    environment: Environment, store: Store, name: str, target: Address, restore_as: str
) -> CheckResult:
    """Connect to the target of a refresh; to its server if the target does not exist yet."""
    from jobs.backup import inspect_target, reach
    from jobs.run import unrecorded_run

    with unrecorded_run(environment, store, "check", name) as run, reach(run, target) as endpoint:
        found = inspect_target(endpoint)
    if found.superuser and not restore_as:
        return fault(
            f"connected as the superuser {found.user}, which must not run a sanitising script",
            "name a role without superuser rights in restore_as, or in the url of `into`",
        )
    if found.exists:
        return check_connection(environment, store, name, target, dumped=False)
    return ok(f"{found.database} does not exist yet; the refresh creates it (connected as {found.user})")


def _connect(endpoint: Endpoint) -> psycopg.Connection[Any]:
    try:
        return endpoint.connect()
    except Transient as error:
        raise Transient(f"{error}; check its url in the file, the firewall and the tunnel (via)") from None
    except Failed as error:
        raise Failed(f"{error}; check user, password and database in the file, and the server's pg_hba.conf") from None


def _matching_pg_dump(major: int) -> str:
    """Return the pg_dump that backups of this server version use; without one, the error says what to install."""
    from jobs.backup import dump_program, installed_clients

    return f"pg_dump {dump_program(major, installed_clients('pg_dump')).version}"
