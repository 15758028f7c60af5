"""PostgreSQL servers of five major versions for tests, and a fresh database on them for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from jobs import embedded

PASSWORD = "known to the tests alone"
NPM = Path(__file__).parent / "npm" / "node_modules"
DEBIAN = Path("/usr/lib/postgresql")

SERVERS = {
    13: NPM / "postgres-13/native/bin",
    15: DEBIAN / "15/bin",
    16: embedded.programs(16),
    17: NPM / "postgres-17/native/bin",
    18: embedded.programs(18),
}
CLIENTS = {major: SERVERS[major] for major in (15, 16, 18)}
MAJORS = tuple(SERVERS)


@dataclass(frozen=True)
class Server:
    """A server on TCP and on a Unix socket, with a password for both."""

    running: embedded.PostgresServer
    passfile: Path
    password: str = PASSWORD

    @property
    def major(self) -> int:
        return self.running.major

    @property
    def port(self) -> int:
        return self.running.port

    @property
    def pid(self) -> int:
        return self.running.program.pid

    @property
    def target(self) -> tuple[str, int]:
        """Where a proxy should forward to."""
        return "127.0.0.1", self.port

    @property
    def environment(self) -> dict[str, str]:
        """What libpq's programs find the password with."""
        return {**os.environ, "PGPASSFILE": str(self.passfile)}

    def url(self, database: str = "postgres") -> str:
        return self.running.url(database)

    def socket_url(self, database: str = "postgres") -> str:
        return self.running.socket_url(database)

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A connection that commits each statement."""
        return psycopg.connect(self.url(database), password=self.password, autocommit=True, **options)


@dataclass(frozen=True)
class Database:
    """A database of a test's own."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    @property
    def password(self) -> str:
        return self.server.password

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return self.server.connect(self.name, **options)

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()


@contextmanager
def start(major: int, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of a test's own, to be stopped, broken or set up in another way."""
    with embedded.postgres(SERVERS[major], folder, tcp=True, password=PASSWORD, settings=settings) as running:
        passfile = folder / f"passfile-{running.port}"
        passfile.touch(0o600)
        passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
        yield Server(running, passfile)


@contextmanager
def fresh(server: Server, name: str) -> Iterator[Database]:
    """A database that is gone afterwards, whoever is still connected."""
    quoted = sql.Identifier(name)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(quoted))
    try:
        yield Database(server, name)
    finally:
        with server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))
