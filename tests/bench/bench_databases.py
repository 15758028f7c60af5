"""Backups of 300 small databases of one server into S3, against a shell loop of pg_dump into a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyrage

from jobs import embedded
from jobs.embedded import PostgresServer, seaweed
from tests.bench import Bench, Side
from tests.bench.database import MAJOR, PASSWORD, Shop, credentials, crew
from tests.parts.signing import write_signing_keys
from tests.parts.store import mark_bucket

DATABASES = int(300 * float(os.environ.get("BENCH_SIZE", "1")))
ENVIRONMENT = """
[environment]
name = "bench"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = ["{recipient}"]
sign_with = {{ file = "{signing}" }}
[servers.main]
url = "{url}"
password = {{ env = "BENCH_PASSWORD" }}
exclude = ["postgres"]
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    folder.chmod(0o755)
    passfile, dumps = folder / "passfile", folder / "dumps"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    dumps.mkdir()
    with embedded.postgres(MAJOR, folder, tcp=True, password=PASSWORD) as server, seaweed(folder) as store:
        create_databases(server)
        made = Shop(server, passfile)
        mark_bucket(store, "bench")
        (folder / "inventories").mkdir()
        (folder / "inventories/bench").write_text("dev_servers = []\n")
        (folder / "inventories/bench.toml").write_text(
            ENVIRONMENT.format(
                store=store,
                url=server.url(),
                signing=write_signing_keys(folder)[0],
                recipient=pyrage.x25519.Identity.generate().to_public(),
            )
        )
        dump = f"{made.program('pg_dump')} -Fc {server.url('small_')}{{}} -f {dumps}/{{}}"
        one, two = (f"seq {DATABASES} | xargs -P{at_once} -I{{}} {dump}" for at_once in (1, 2))
        loop, side_by_side = "a loop of pg_dump -Fc", "two pg_dump -Fc at a time"
        yield [
            Side(loop, one, made.environment),
            Side(side_by_side, two, made.environment),
            Side(
                "crew run backup",
                crew(folder, "run", "backup", "bench"),
                {**made.environment, **credentials(store)},
                seconds=8,
                than={side_by_side: 1.4},
                memory=150,
            ),
        ]


def create_databases(server: PostgresServer) -> None:
    """Create databases with three small tables each."""
    with psycopg.connect(server.url(), password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE DATABASE small_1")
        with psycopg.connect(server.url("small_1"), password=PASSWORD, autocommit=True) as first:
            for table in ("a", "b", "c"):
                first.execute(f"CREATE TABLE {table} AS SELECT n, md5(n::text) FROM generate_series(1, 100) n".encode())
        for number in range(2, DATABASES + 1):
            connection.execute(f"CREATE DATABASE small_{number} TEMPLATE small_1".encode())


BENCH = Bench(f"Backups of {DATABASES} small databases into S3 on the same machine", sides, rounds=3)
