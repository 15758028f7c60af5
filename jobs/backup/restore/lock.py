"""The lock on a database while a restore or refresh writes to it, whatever machine and store it runs with."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, Endpoint, translate_error
from jobs.backup.postgres.quoting import clip_name
from jobs.backup.restore.target import maintenance_connection
from jobs.run.job import Transient
from jobs.run.lease import LockHeld

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_NAMESPACE = 0x63726577  # "crew": the first half of the key of each of our advisory locks

# The server notices within two minutes that this machine is gone; by default it takes hours.
_KEEPALIVES = """SELECT pg_catalog.set_config('tcp_keepalives_idle', '60', false),
    pg_catalog.set_config('tcp_keepalives_interval', '10', false),
    pg_catalog.set_config('tcp_keepalives_count', '6', false)"""

_HOLDER = """SELECT pid, application_name, usename, backend_start
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"""


@dataclass(frozen=True, slots=True)
class RestoreLock:
    """An advisory lock on the server of `into`. The server also releases it when the connection ends."""

    into: Endpoint
    connection: psycopg.Connection[Any]

    def require_held(self) -> None:
        """Raise if the connection, and with it the lock, was lost."""
        import psycopg

        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise Transient(f"the lock on database {self.into.database} was lost: {translate_error(error)}") from None


@contextmanager
def restore_lock(into: Endpoint) -> Iterator[RestoreLock]:
    """Hold the lock on a database, which does not need to exist. Raise LockHeld if another restore has it.

    Advisory locks belong to a database of the server, so every restore must lock in the same maintenance database.
    """
    import psycopg

    name, key = into.database, lock_number(into.database)
    with maintenance_connection(into) as server:
        server.execute(DISABLE_TIMEOUTS)
        server.execute(_KEEPALIVES)
        server.execute("SELECT pg_catalog.set_config('application_name', %s, false)", (_application_name(),))
        if server.execute("SELECT pg_catalog.pg_try_advisory_lock(%s, %s)", (_NAMESPACE, key)).fetchone() != (True,):
            raise LockHeld(held_message(name, server.execute(_HOLDER, (_NAMESPACE, key)).fetchone()))
        try:
            yield RestoreLock(into, server)
        finally:  # on a busy server, the process of a closed connection ends some time later
            with suppress(psycopg.Error):
                server.execute("SELECT pg_catalog.pg_advisory_unlock(%s, %s)", (_NAMESPACE, key))


def lock_number(database: str) -> int:
    """Return the second half of the key of a database's lock: 31 bits, since PostgreSQL's integers have a sign."""
    return int.from_bytes(sha256(database.encode()).digest()[:4]) >> 1


def held_message(database: str, holder: tuple[int, str, str, datetime | None] | None) -> str:
    """Return the error for a lock that another restore holds. The server hides some start times from other roles.

    Every role of the server can take the lock and choose its program's name, but not its own.
    """
    running = f"database {database}: another restore or refresh of it is running"
    if holder is None:
        return f"{running}, or has just ended; try again"
    pid, program, role, since = holder
    at = f" since {since.astimezone(UTC):%H:%M:%S} UTC" if since is not None else ""
    return f"{running}: {program}, as role {role}{at}. Wait for it, or end it: SELECT pg_terminate_backend({pid})"


def _application_name() -> str:
    """Return the name of this process for pg_stat_activity."""
    return clip_name(f"groundcrew restore on {socket.gethostname()}", f" (pid {os.getpid()})")
