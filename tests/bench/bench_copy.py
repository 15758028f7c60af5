"""A copy of 20 sets of 4 objects from one S3 server to another, compared with `rclone copy` of the same objects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.embedded import S3Server, seaweed
from jobs.store import Store, make_store
from tests.bench import Bench, Side
from tests.bench.database import crew
from tests.parts.copies import FILE, opened_places
from tests.parts.signed_sets import write_set
from tests.parts.signing import PUBLIC_LINES, SET_SIGNER

SETS = 20
SIZE = 50 << 20
"""Bytes of each of the two large pieces of a set. The description and the manifest are small."""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    size = int(SIZE * float(os.environ.get("BENCH_SIZE", "1")))
    for name in ("here", "there"):
        (folder / name).mkdir()
    with seaweed(folder / "here") as here, seaweed(folder / "there") as there:
        servers = {"here": here, "there": there}
        environment = {"AWS_SHARED_CREDENTIALS_FILE": _credentials(folder, servers)}
        os.environ.update(environment)
        store, copy = (_section(server, name) for name, server in servers.items())
        text = FILE.format(name="staging", store=store, copy=copy, trust=json.dumps(PUBLIC_LINES), lines="")
        (folder / "staging.toml").write_text(text)
        places = opened_places(folder, "staging")
        for each in (places.store, places.copy):
            make_store(each, "staging")
        for days in range(SETS):
            at, rows = datetime.now(UTC) - timedelta(days=days), os.urandom(size)
            write_set(places.store, SET_SIGNER, at, content=rows, rest=rows[::-1], recipients=())
        rclone = f"{Path(sys.executable).with_name('rclone')} copy {_remote(here, 'here')} {_remote(there, 'there')}"
        copied = crew(folder, "run", "copy", "staging")
        yield [
            Side("rclone copy", rclone, environment, lambda: _empty(places.copy)),
            Side("crew run copy", copied, environment, lambda: _empty(places.copy), times=1.2, memory=150),
        ]


def _credentials(folder: Path, servers: Mapping[str, S3Server]) -> str:
    """Write an AWS profile for each server."""
    file = folder / "credentials"
    lines = (f"[{name}]\naws_access_key_id={s.key}\naws_secret_access_key={s.secret}\n" for name, s in servers.items())
    file.touch(0o600)
    file.write_text("".join(lines))
    return str(file)


def _section(server: S3Server, profile: str) -> str:
    url = f"s3://{server.bucket}/groundcrew"
    return f'url = "{url}"\nendpoint = "{server.endpoint}"\nregion = "{server.region}"\nprofile = "{profile}"'


def _remote(server: S3Server, profile: str) -> str:
    options = f"provider=Other,env_auth=true,no_check_bucket=true,profile={profile},endpoint='{server.endpoint}'"
    return f'":s3,{options}:{server.bucket}/groundcrew/staging/backups"'


def _empty(copy: Store) -> None:
    """Remove what the previous side copied."""
    copy.delete([each.key for each in copy.list("staging/backups/")])


BENCH = Bench("A copy of 20 sets, 2 GB, between two S3 servers on the same machine", sides, rounds=3)
