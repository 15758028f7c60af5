"""Rename a restored copy to its final name, and the database that it replaces out of the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.postgres.settings import comment_statement
from jobs.backup.restore.target import maintenance_connection

if TYPE_CHECKING:
    import psycopg

    from jobs.run.job import Run

_SECONDS_FOR_QUERIES = 3.0
_SECONDS_BETWEEN = 0.05
_TRIES = 3

_TERMINATE = """SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
    WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid() AND (state IS NULL OR state = 'idle' OR %s)"""


def swap(into: Endpoint, copy: str, kept_as: str | None, kept_comment: str | None, run: Run) -> None:
    """Give the copy its final name. Rename the database that has that name, in the same transaction, to `kept_as`.

    The first rename locks the old database, so new connections wait. Idle connections are terminated at once, others
    after 3 seconds. If this process dies, the server rolls everything back.
    """
    import psycopg

    for tries_left in reversed(range(_TRIES)):
        run.check()
        with maintenance_connection(into) as server:
            try:
                _rename(server, into, copy, kept_as, kept_comment)
            except psycopg.errors.ObjectInUse:
                if not tries_left:
                    raise
            else:
                return


def _rename(
    server: psycopg.Connection[Any], into: Endpoint, copy: str, kept_as: str | None, kept_comment: str | None
) -> None:
    name = into.database
    with server.transaction():
        server.execute("SET LOCAL lock_timeout = '10s'")
        if kept_as is not None:
            with _terminating_connections(into, name):
                server.execute(f"ALTER DATABASE {quoting.identifier(name)} RENAME TO {quoting.identifier(kept_as)}")
            server.execute(comment_statement(kept_as, kept_comment))
        with _terminating_connections(into, copy):
            server.execute(f"ALTER DATABASE {quoting.identifier(copy)} RENAME TO {quoting.identifier(name)}")


@contextmanager
def _terminating_connections(into: Endpoint, database: str) -> Iterator[None]:
    """Terminate the connections to a database from a second connection, until the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=_terminate, args=(into, database, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _terminate(into: Endpoint, database: str, done: threading.Event) -> None:
    with suppress(Exception), maintenance_connection(into) as server:
        waited = 0.0
        while not done.wait(_SECONDS_BETWEEN):
            server.execute(_TERMINATE, (database, waited >= _SECONDS_FOR_QUERIES))
            waited += _SECONDS_BETWEEN
