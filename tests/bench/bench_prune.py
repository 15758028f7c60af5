"""Removal of 5,000 backup sets of four objects from S3 on the same machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from inventories import Repository
from jobs.embedded import S3Server, seaweed
from jobs.store import Store, open_store
from tests.bench import Bench, Side
from tests.parts.sets import objects
from tests.parts.store import mark_bucket

SETS = int(5000 * float(os.environ.get("BENCH_SIZE", "1")))
CREW = [sys.executable, "-m", "jobs.cli"]
RCLONE = Path(sys.executable).with_name("rclone")
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = "nobody"
sign_with = "nobody"
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = {{ last = 1 }}
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with seaweed(folder) as server:
        login = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret}
        credentials = {**login, "AWS_DEFAULT_REGION": server.region}
        os.environ.update(credentials)
        refill = partial(fill, written(folder, server))
        where = f"{server.bucket}/groundcrew/dev/backups"
        remote = f":s3,provider=SeaweedFS,env_auth,endpoint='{server.endpoint}':{where}"
        aws = ["aws", "--endpoint-url", server.endpoint, "s3", "rm", "--recursive", "--quiet", f"s3://{where}"]
        yield [
            Side("aws s3 rm --recursive", aws, credentials, refill),
            Side("rclone delete", [RCLONE, "delete", remote], {**credentials, "RCLONE_CONFIG": ""}, refill),
            Side(
                "crew run retention",
                [*CREW, "--root", folder, "run", "retention", "dev"],
                credentials,
                refill,
                times=1 / 3,
            ),
        ]


def written(folder: Path, server: S3Server) -> Store:
    """The environment to prune, and its store."""
    mark_bucket(server, "dev")
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    (folder / "inventories/dev.toml").write_text(ENVIRONMENT.format(store=server))
    settings = Repository.find(folder).read("dev").store
    assert settings
    return open_store(settings)


def fill(store: Store) -> None:
    """Create all sets that are missing."""
    there = {entry.key for entry in store.list("dev/backups/")}
    hours = (NEWEST - timedelta(hours=n) for n in range(SETS))
    wanted = (entry for at in hours for entry in objects(at, environment="dev").items())
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda entry: store.put(*entry), (entry for entry in wanted if entry[0] not in there)))


BENCH = Bench(f"removing {SETS:,} backup sets of four objects", sides, rounds=1)
