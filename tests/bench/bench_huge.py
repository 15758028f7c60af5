"""A backup and a restore of a database that is one table of 1.5 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from jobs import embedded
from jobs.embedded import PostgresServer, seaweed
from tests.bench import Bench, Side
from tests.bench.bench_restore import emptied, write
from tests.bench.database import MAJOR, PASSWORD, SETTINGS, WIDE, Shop, credentials, crew

ROWS = int(6_000_000 * float(os.environ.get("BENCH_SIZE", "1")))


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    folder.chmod(0o755)
    passfile, local = folder / "passfile", folder / "dump"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    with (
        embedded.postgres(MAJOR, folder, tcp=True, password=PASSWORD, settings=SETTINGS) as server,
        seaweed(folder) as store,
    ):
        create_table(server)
        made = Shop(server, passfile)
        environment = {**made.environment, **credentials(store), "PGPASSWORD": PASSWORD}
        write(folder, server.url("bench"), store)
        again, empty = server.url("again"), emptied(server)
        bare = f"{made.program('pg_dump')} -Fc -Z0 {server.url('bench')}"
        everything = {**os.environ, **environment}
        subprocess.run(f"{bare.replace(' -Z0', '')} > {local}", shell=True, env=everything, check=True)
        back_up = partial(subprocess.run, crew(folder, "run", "backup", "dev"), env=everything, check=True)
        rclone = Path(sys.executable).with_name("rclone")
        dump, stream = "pg_dump -Fc -Z0 to nowhere", "pg_dump -Fc -Z0 to zstd to rclone rcat"
        restore = "pg_restore of a local dump, ANALYZE"
        yield [
            Side(dump, f"{bare} > /dev/null", environment),
            Side(
                stream,
                f"{bare} | zstd -q -3 -T2 | {rclone} rcat --s3-provider=Other --s3-endpoint={store.endpoint} "
                f"--s3-env-auth=true --s3-no-check-bucket :s3:{store.bucket}/rclone",
                environment,
            ),
            Side(
                "crew run backup, parallel = 2",
                crew(folder, "run", "backup", "dev"),
                environment,
                than={dump: 1.3, stream: 0.75},
                memory=150,
            ),
            Side(
                restore,
                f"{made.program('pg_restore')} -d '{again}' {local} && {made.program('psql')} -qc ANALYZE '{again}'",
                environment,
                empty,
            ),
            Side(
                "crew backups restore",
                crew(folder, "backups", "restore", "dev", "bench", "--into", again),
                environment,
                empty,
                than={restore: 0.75},
                memory=150,
            ),
            Side(
                "crew backups verify",
                crew(folder, "backups", "verify", "dev", "bench"),
                environment,
                back_up,
                than={"crew backups restore": 0.65},
                memory=150,
            ),
        ]


def create_table(server: PostgresServer) -> None:
    with psycopg.connect(server.url(), password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench")
    with psycopg.connect(server.url("bench"), password=PASSWORD, autocommit=True) as connection:
        connection.execute(WIDE.format(rows=ROWS).encode())
        connection.execute("ALTER TABLE wide ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


BENCH = Bench("A backup and a restore of one table of 1.5 GB, S3 on the same machine", sides, rounds=5)
