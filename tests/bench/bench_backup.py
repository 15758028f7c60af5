"""Backups of one database, compared with common ways to back up without groundcrew."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyrage

from jobs.embedded import S3Server, seaweed
from jobs.store import mark_key
from tests.bench import Bench, Side
from tests.bench.database import Shop, aws, credentials, crew, shop
from tests.parts.signing import write_signing_keys
from tests.parts.store import mark_bucket

ENVIRONMENT = """
[environment]
name = "bench"
[store]
url = "s3://{bucket}/crew"
endpoint = "{endpoint}"
region = "{region}"
encrypt_to = ["{recipient}"]
sign_with = {{ file = "{signing}" }}
[databases.one]
url = "{bench}"
password = {{ env = "BENCH_PASSWORD" }}
parallel = 1
[databases.two]
url = "{bench}"
password = {{ env = "BENCH_PASSWORD" }}
parallel = 2
[databases.uncounted]
url = "{bench}"
password = {{ env = "BENCH_PASSWORD" }}
parallel = 2
counts = false
[databases.tenth]
url = "{tenth}"
password = {{ env = "BENCH_PASSWORD" }}
parallel = 2
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with shop(folder) as made, seaweed(folder) as store:
        _repository(folder, made, store)
        environment = {**made.environment, **credentials(store)}
        dump = f"{made.program('pg_dump')} -Fc {made.server.url('bench')}"
        rclone = Path(sys.executable).with_name("rclone")
        bare = dump.replace("-Fc", "-Fc -Z0")

        def backup(database: str) -> Sequence[str | Path]:
            return crew(folder, "run", "backup", "bench", "--only", database)

        def side(name: str, command: Sequence[str | Path] | str, **goal: float) -> Side:
            return Side(name, command, environment, before=lambda: _empty(store), **goal)

        yield [
            side("pg_dump -Fc -Z0 to nowhere", f"{bare} > /dev/null"),
            side("groundcrew, parallel = 2", backup("two"), times=1.15, memory=150),
            side("groundcrew, parallel = 2, no counts", backup("uncounted"), times=1.0, memory=150),
            side("groundcrew, parallel = 1", backup("one"), memory=150),
            side("groundcrew, a tenth of the size", backup("tenth"), memory=150),
            side(
                "pg_dump -Fc -Z0 to zstd to rclone rcat",
                f"{bare} | zstd -q -3 -T2 | {rclone} rcat --s3-provider=Other --s3-endpoint={store.endpoint} "
                f"--s3-env-auth=true --s3-no-check-bucket :s3:{store.bucket}/rclone",
            ),
            side(
                "pg_dump -Fc to aws s3 cp",
                f"{dump} | {aws(folder)} --endpoint-url {store.endpoint} s3 cp --only-show-errors "
                f"- s3://{store.bucket}/aws",
            ),
        ]


def _repository(folder: Path, made: Shop, store: S3Server) -> None:
    inventories = folder / "inventories"
    inventories.mkdir()
    (inventories / "bench").write_text("dev_servers = []\n")
    (inventories / "bench.toml").write_text(
        ENVIRONMENT.format(
            bucket=store.bucket,
            endpoint=store.endpoint,
            region=store.region,
            signing=write_signing_keys(folder)[0],
            recipient=pyrage.x25519.Identity.generate().to_public(),
            bench=made.server.url("bench"),
            tenth=made.server.url("tenth"),
        )
    )


def _empty(store: S3Server) -> None:
    """Remove what the previous side stored."""
    client = store.client()
    mark_bucket(store, "bench")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith(mark_key("bench")):
                client.delete_object(Bucket=store.bucket, Key=entry["Key"])


BENCH = Bench("A backup of 1.9 GB into S3 on the same machine", sides, rounds=3)
