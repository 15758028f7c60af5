"""A restore of that database from S3 on the same machine, into an empty database."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from jobs.backup.sets.encryption import new_key_pair
from jobs.embedded import PostgresServer, S3Server, seaweed
from tests.bench import Bench, Side
from tests.bench.database import PASSWORD, aws, credentials, crew, shop
from tests.parts.signing import write_signing_keys
from tests.parts.store import mark_bucket

ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = ["{public}"]
decrypt_with = {{ file = "{key}" }}
sign_with = {{ file = "{signing}" }}
[verify]
sign_with = {{ file = "{verify}" }}
[databases.bench]
url = "{url}"
password = {{ env = "BENCH_PASSWORD" }}
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with shop(folder) as made, seaweed(folder) as store:
        environment = {**made.environment, **credentials(store), "PGPASSWORD": PASSWORD}
        everything = {**os.environ, **environment}
        write(folder, made.server.url("bench"), store)
        subprocess.run(crew(folder, "run", "backup", "dev"), env=everything, check=True)
        s3 = f"{aws(folder)} --endpoint-url {store.endpoint} s3 cp --only-show-errors"
        there, again = f"s3://{store.bucket}/dump", made.server.url("again")
        keep = f"{made.program('pg_dump')} -Fc {made.server.url('bench')} | {s3} - {there}"
        subprocess.run(keep, shell=True, env=everything, check=True)
        empty = emptied(made.server)

        def restore(*options: str) -> Sequence[str | Path]:
            return crew(folder, "backups", "restore", "dev", "bench", "--into", again, *options)

        yield [
            Side("aws s3 cp - \\| pg_restore", f"{s3} {there} - | {made.program('pg_restore')} -d '{again}'",
                 environment, empty),
            Side("groundcrew, as it comes: parallel = 3", restore(), environment, empty, times=0.5, memory=150),
            Side("groundcrew, parallel = 2", restore("--parallel", "2"), environment, empty, memory=150),
            Side("groundcrew, parallel = 1", restore("--parallel", "1"), environment, empty, memory=150),
        ]  # fmt: skip


def write(folder: Path, url: str, store: S3Server) -> None:
    """The environment with the backup."""
    mark_bucket(store, "dev")
    secret, public = new_key_pair()
    key = folder / "age.key"
    key.touch(0o600)
    key.write_text(secret)
    signing, verify = write_signing_keys(folder)
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    (folder / "inventories/dev.toml").write_text(
        ENVIRONMENT.format(url=url, store=store, public=public, key=key, signing=signing, verify=verify)
    )


def emptied(server: PostgresServer) -> Callable[[], None]:
    """Create an empty database, after the server has finished the work of the previous run."""

    def empty() -> None:
        with psycopg.connect(server.url(), password=PASSWORD, autocommit=True) as there:
            there.execute("DROP DATABASE IF EXISTS again")
            there.execute("CREATE DATABASE again")
            there.execute("CHECKPOINT")

    return empty


BENCH = Bench("A restore of 1.9 GB from S3 on the same machine", sides, rounds=3)
