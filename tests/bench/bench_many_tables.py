"""A backup and a restore of 20,000 tables with a row each, against plain pg_dump and pg_restore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from jobs import embedded
from jobs.embedded import PostgresServer
from tests.bench import Bench, Side
from tests.bench.bench_restore import emptied
from tests.bench.database import MAJOR, PASSWORD, Shop, crew
from tests.parts.store import mark

TABLES = int(20_000 * float(os.environ.get("BENCH_SIZE", "1")))
AT_ONCE = 500
SETTINGS = {"max_locks_per_transaction": "1024", "shared_buffers": "256MB"}
ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "file://{folder}/store"
encrypt_to = "nobody"
sign_with = "nobody"
[databases.bench]
url = "{url}"
password = {{ env = "BENCH_PASSWORD" }}
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    folder.chmod(0o755)
    passfile, dump = folder / "passfile", folder / "dump"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    with embedded.postgres(MAJOR, folder, tcp=True, password=PASSWORD, settings=SETTINGS) as server:
        made = Shop(server, passfile)
        create_tables(server)
        write(folder, server.url("bench"))
        again, empty = server.url("again"), emptied(server)
        yield [
            Side("pg_dump", f"{made.program('pg_dump')} -Fc -Z0 {server.url('bench')} > {dump}", made.environment),
            Side("crew run backup", crew(folder, "run", "backup", "dev"), made.environment, times=2, memory=150),
            Side("pg_restore", [made.program("pg_restore"), "-d", again, dump], made.environment, empty),
            Side(
                "crew backups restore",
                crew(folder, "backups", "restore", "dev", "bench", "--into", again),
                {**made.environment, "PGPASSWORD": PASSWORD},
                empty,
                than={"pg_restore": 2},
                memory=150,
            ),
        ]


def create_tables(server: PostgresServer) -> None:
    with psycopg.connect(server.url(), password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench")
    with psycopg.connect(server.url("bench"), password=PASSWORD, autocommit=True) as connection:
        for first in range(0, TABLES, AT_ONCE):
            last = min(first + AT_ONCE, TABLES) - 1
            connection.execute(
                f"DO $$ BEGIN FOR n IN {first}..{last} LOOP "
                "EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', n); "
                "EXECUTE format('INSERT INTO t%s VALUES (1, ''a'')', n); END LOOP; END $$".encode()
            )
        connection.execute("CHECKPOINT")


def write(folder: Path, url: str) -> None:
    """Write the environment, and mark its store."""
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    (folder / "inventories/dev.toml").write_text(ENVIRONMENT.format(url=url, folder=folder))
    mark(folder / "store", "dev")


BENCH = Bench(f"A backup and a restore of {TABLES:,} tables", sides, rounds=1)
