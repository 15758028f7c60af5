"""The memory of the daemon, and its processor time: less than 1 % of a core is 36 seconds in an hour."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.embedded import S3Server, seaweed
from tests.bench import Bench, Side
from tests.parts.store import mark_bucket

DATABASES = 250
HEAD = """
[environment]
name = "dev"
timezone = "Europe/Berlin"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = "nobody"
sign_with = "nobody"
"""
DATABASE = """
[databases.shop{number}]
url = "postgresql://nobody@127.0.0.1:1/shop"
backup = "0 * * * *"
retention = "30 */6 * * *"
keep = {{ last = 1 }}
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with seaweed(folder) as server:
        credentials = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret}
        write(folder, server)
        yield [
            Side("python -c pass", [sys.executable, "-c", "pass"]),
            Side(
                "the daemon, an hour of simulated beats", [sys.executable, "-m", "tests.bench.hour", folder],
                {**os.environ, **credentials}, memory=80, seconds=36,
            ),
        ]  # fmt: skip


def write(folder: Path, server: S3Server) -> None:
    """500 schedules: two for each of 250 databases."""
    mark_bucket(server, "dev")
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    databases = "".join(DATABASE.format(number=number) for number in range(DATABASES))
    (folder / "inventories/dev.toml").write_text(HEAD.format(store=server) + databases)


BENCH = Bench("an hour of the daemon with 500 schedules, records in S3", sides, rounds=1)
