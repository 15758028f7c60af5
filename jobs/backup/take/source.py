"""Choose the server that a database is dumped from: its standby, or else its primary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from jobs.backup.postgres.connection import Address, Endpoint, reach, translated_errors
from jobs.format import format_duration
from jobs.run.job import Failed, Run, Transient

if TYPE_CHECKING:
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


class StandbyStatus(NamedTuple):
    """What a server says of its replication."""

    in_recovery: bool
    receives: bool  # WAL from a primary
    lag: timedelta


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
                why_not = standby_fault(read_standby(endpoint))
            except (Failed, Transient) as error:
                why_not = str(error)
            note = "from the standby"
            if why_not:
                endpoint, note = None, f"from the primary, because the standby can't be used: {why_not}"
                run.log.warning("the backup is taken from the primary", standby=why_not)
        if endpoint is None:
            endpoint = _in_database(tunnels.enter_context(reach(run, section)), database)
        yield endpoint, note


def _in_database(endpoint: Endpoint, database: str | None) -> Endpoint:
    return endpoint if database is None else endpoint.with_database(database)


def read_standby(endpoint: Endpoint) -> StandbyStatus:
    """Return what a server says of its replication."""
    with translated_errors(), endpoint.connect() as connection:
        row = connection.execute(STANDBY_STATUS).fetchone()
    assert row is not None
    return StandbyStatus(row[0], row[1], timedelta(seconds=row[2]))


def standby_fault(found: StandbyStatus) -> str:
    """Return why a server can't be dumped in place of its primary; "" if it can."""
    if not found.in_recovery:
        return "it is no standby; was it promoted?"
    if not found.receives:
        return "it does not stream from its primary"
    return f"it is {format_duration(found.lag)} behind its primary" if found.lag > MOST_LAG else ""
