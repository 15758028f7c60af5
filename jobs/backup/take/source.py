"""Choose the server that a database is dumped from: its standby, or else its primary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.backup.postgres.connection import Address, Endpoint, reach, translated_errors
from jobs.backup.take.facts import read_server
from jobs.format import format_duration
from jobs.run.job import Failed, Run, Transient

if TYPE_CHECKING:
    import psycopg

    from inventories import DatabaseSettings, ServerSettings

    Section = DatabaseSettings | ServerSettings

MOST_LAG = timedelta(minutes=15)
# Everyone sees whether there is a WAL receiver, but only a monitor its status.
STANDBY_STATUS = """
SELECT pg_catalog.pg_is_in_recovery(), EXISTS (SELECT pid FROM pg_catalog.pg_stat_wal_receiver WHERE pid IS NOT NULL),
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    OR pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0
  ELSE COALESCE(pg_catalog.date_part('epoch',
    pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()), 0) END
"""

_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"


class DatabaseIdentity(NamedTuple):
    """What a database has in common with itself on a standby, and with no other database."""

    cluster: str  # "" where managed servers hide it
    oid: int


class StandbyStatus(NamedTuple):
    """What a server says of its replication."""

    in_recovery: bool
    receives: bool  # WAL from a primary
    lag: timedelta
    identity: DatabaseIdentity


@contextmanager
def reach_source(run: Run, section: Section, database: str | None) -> Iterator[tuple[Endpoint, str]]:
    """Yield the database to dump, and a note on the server; "" if the section has no standby.

    If the standby can't be used, the primary is dumped, and the note says why.
    """
    with ExitStack() as tunnels:
        endpoint, note = None, ""
        if section.standby:
            try:
                standby = Address(section.standby, section.password, section.via)
                endpoint = _in_database(tunnels.enter_context(reach(run, standby)), database)
                found = read_standby(endpoint)
                primary, why_unknown = identity_on_primary(run, section, database)
                why_not = standby_fault(found, primary)
            except (Failed, Transient) as error:
                why_not = str(error)
            if why_not:
                endpoint, note = None, f"from the primary, because the standby can't be used: {why_not}"
                run.log.warning("the backup is taken from the primary", standby=why_not)
            else:
                note = "from the standby" + why_unknown
        if endpoint is None:
            endpoint = _in_database(tunnels.enter_context(reach(run, section)), database)
        yield endpoint, note


def _in_database(endpoint: Endpoint, database: str | None) -> Endpoint:
    return endpoint if database is None else endpoint.with_database(database)


def identity_on_primary(run: Run, section: Section, database: str | None) -> tuple[DatabaseIdentity | None, str]:
    """Return what the database is on its primary; if that can't be read, a note with the reason."""
    try:
        with (
            reach(run, section) as primary,
            translated_errors(),
            _in_database(primary, database).connect() as connection,
        ):
            return _identity(connection), ""
    except (Failed, Transient) as error:
        return None, f", which was not compared with its primary: {error}"


def read_standby(endpoint: Endpoint) -> StandbyStatus:
    """Return what a server says of its replication."""
    with translated_errors(), endpoint.connect() as connection:
        row = connection.execute(STANDBY_STATUS).fetchone()
        assert row is not None
        return StandbyStatus(row[0], row[1], timedelta(seconds=row[2]), _identity(connection))


def _identity(connection: psycopg.Connection[Any]) -> DatabaseIdentity:
    row = connection.execute(_OID).fetchone()
    assert row is not None
    return DatabaseIdentity(read_server(connection)[0].system_identifier, row[0])


def standby_fault(found: StandbyStatus, primary: DatabaseIdentity | None) -> str:
    """Return why a server can't be dumped in place of its primary; "" if it can."""
    if not found.in_recovery:
        return "it is not a standby; was it promoted?"
    if primary and primary.cluster and found.identity.cluster not in ("", primary.cluster):
        return "it is a standby of another server than `url` names"
    if primary and found.identity.oid != primary.oid:
        return "it has another database than `url` names"
    if not found.receives:
        return "it does not stream from its primary"
    return f"it is {format_duration(found.lag)} behind its primary" if found.lag > MOST_LAG else ""
