"""Restoring a database of 2 GB from S3 on the same machine, into an empty database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from jobs.cli.init import new_key
from jobs.embedded import PostgresServer, S3Server, postgres, seaweed
from tests.bench import Bench, Side
from tests.bench.big import NAME, fill

SIZE = float(os.environ.get("BENCH_SIZE", "1"))
CREW = [sys.executable, "-m", "jobs.cli"]
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "max_connections": "50"}

ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = ["{public}"]
decrypt_with = {{ file = "{key}" }}
[databases.big]
url = "{url}"
counts = true
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    folder.chmod(0o755)
    with postgres(16, folder, settings=SETTINGS) as server, seaweed(folder) as store:
        credentials = {
            "AWS_ACCESS_KEY_ID": store.key, "AWS_SECRET_ACCESS_KEY": store.secret, "AWS_DEFAULT_REGION": store.region,
        }  # fmt: skip
        url = fill(server, SIZE)
        write(folder, url, store)
        crew = [*CREW, "--root", folder]
        subprocess.run([*crew, "run", "backup", "dev"], env={**os.environ, **credentials}, check=True)
        aws = f"aws --endpoint-url {store.endpoint} s3 cp"
        there = f"s3://{store.bucket}/dump"
        keep = f"{server.programs}/pg_dump -Fc -d '{url}' | {aws} - {there}"
        subprocess.run(keep, shell=True, env={**os.environ, **credentials}, check=True)
        again = server.url("again")
        restore = [*crew, "backups", "restore", "dev", "big", "--into", again, "--parallel"]
        empty = emptied(server)
        plain = f"{aws} {there} - | {server.programs}/pg_restore -d '{again}'"
        yield [
            Side("aws s3 cp to pg_restore", plain, credentials, empty),
            Side("crew backups restore, parallel 2", [*restore, "2"], credentials, empty, times=0.5),
            Side("crew backups restore, parallel 1", [*restore, "1"], credentials, empty),
        ]


def write(folder: Path, url: str, store: S3Server) -> None:
    """The environment that is backed up."""
    secret, public = new_key()
    key = folder / "age.key"
    key.touch(0o600)
    key.write_text(secret)
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    (folder / "inventories/dev.toml").write_text(ENVIRONMENT.format(url=url, store=store, public=public, key=key))


def emptied(server: PostgresServer) -> Callable[[], None]:
    """An empty database to restore into, and no work of the one before left over."""

    def empty() -> None:
        with psycopg.connect(server.url(), autocommit=True) as there:
            there.execute("DROP DATABASE IF EXISTS again")
            there.execute("CREATE DATABASE again")
            there.execute("CHECKPOINT")

    return empty


BENCH = Bench(f"a restore of {NAME}, {SIZE:g} times 1.35 GB dumped", sides, rounds=3)
