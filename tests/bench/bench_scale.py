"""Commands on a store with five years of work: 24,000 backup sets and 73,000 run records in S3."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from inventories import Repository
from jobs.embedded import S3Server, seaweed
from jobs.run import Outcome, Record
from jobs.run.context import new_run_id
from jobs.run.holders import write_snapshot
from jobs.run.latest import NO_RUNS
from jobs.run.lease import Holder, holder_to, lock_key
from jobs.run.record import record_to
from jobs.store import Store, open_store
from tests.bench import Bench, Side
from tests.parts.sets import objects
from tests.parts.store import mark_bucket

SIZE = float(os.environ.get("BENCH_SIZE", "1"))
DATABASES, STACKS = 40, 5
DAYS_OF_SETS, DAYS_OF_RECORDS = int(600 * SIZE), int(365 * SIZE)
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = "nobody"
sign_with = "nobody"
[servers.main]
url = "postgresql://nobody@127.0.0.1:1/postgres"
backup = "0 2 * * *"
retention = "30 6 * * *"
keep = {{ daily = 1000 }}
[terraform]
state = {{ bucket = "acme-state", region = "eu-central-1", lock = "file" }}
[drift]
check = "0 * * * *"
"""
CREW = [sys.executable, "-m", "jobs.cli"]


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with seaweed(folder) as server:
        credentials = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret}
        os.environ.update(credentials)
        fill(write(folder, server))

        def side(words: str, seconds: float, memory: float | None = None) -> Side:
            crew = [*CREW, "--root", folder, *words.split()]
            return Side(f"crew {words}", crew, credentials, seconds=seconds, memory=memory)

        page = folder / "status.html"
        yield [
            Side("python -c pass", [sys.executable, "-c", "pass"]),
            side("status dev", 1),
            side("schedule list dev", 1),
            side("runs dev", 1),
            side("runs dev backup main.db7 --last", 1),
            side("backups list dev main.db7", 0.5),
            side("backups list dev", 5, 150),
            side("backups list dev --all --json", 15, 300),
            Side("crew status dev --html", [*CREW, "--root", folder, "status", "dev", "--html", page], credentials),
            side("backups prune dev --dry-run --json", 15, 300),
        ]


def write(folder: Path, server: S3Server) -> Store:
    """Write the environment, and return its store."""
    mark_bucket(server, "dev")
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    stacks = "".join(f"[stacks.stack{number}]\n" for number in range(STACKS))
    (folder / "inventories/dev.toml").write_text(ENVIRONMENT.format(store=server) + stacks)
    for number in range(STACKS):
        (folder / f"terraform/stacks/stack{number}").mkdir(parents=True)
    settings = Repository.find(folder).read("dev").store
    assert settings
    return open_store(settings)


def fill(store: Store) -> None:
    """Write sets of five keys, a record for each run, and the locks and the snapshot that these runs left."""
    newest = {}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), set_keys()))
        for record in records():
            newest[record.name] = record
            pool.submit(store.put, record.key, record_to(record))
        locks = dict(pool.map(lambda record: release(store, record), newest.values()))
    write_snapshot(store, "dev", locks)


def set_keys() -> Iterator[str]:
    for day in range(DAYS_OF_SETS):
        at = NOW.replace(hour=2) - timedelta(days=day + 1)
        for number in range(DATABASES):
            yield from objects(at, environment="dev", database=f"main.db{number}", signer=None)


def records() -> Iterator[Record]:
    """Yield the records of all runs, oldest first: hourly drift checks, daily backups and retention."""
    for hour in range(24 * DAYS_OF_RECORDS, 0, -1):
        tick = NOW - timedelta(hours=hour)
        jobs = {2: "backup", 6: "retention"}.get(tick.hour)
        databases = [(jobs, f"main.db{number}") for number in range(DATABASES)] if jobs else []
        for job, subject in chain((("drift", f"stack{number}") for number in range(STACKS)), databases):
            yield record(job, subject, tick)


def record(job: str, subject: str, tick: datetime) -> Record:
    return Record(
        environment="dev", job=job, subject=subject, run=new_run_id(tick), tick=tick, started=tick,
        ended=tick + timedelta(seconds=9), outcome=Outcome.DONE, sentence="412 MB in 31 s", figures={"seconds": 9},
        about="", attempts=1, stopped=None, host="runner-1", pid=1, scheduled=True, took_over=None, missed=None,
        log=("02:00:00Z info step finished step=dump seconds=8.1",) * 10, user="groundcrew",
    )  # fmt: skip


def release(store: Store, last: Record) -> tuple[str, tuple[str, bytes]]:
    """Write the lock that a run released; return its key, version and document."""
    runs = NO_RUNS.with_run(last.summary)
    holder = Holder(last.run, last.host, 1, last.started, 60, last.tick, released=last.ended, runs=runs)
    key, body = lock_key("dev", last.job, last.subject), holder_to(holder)
    return key, (store.put(key, body), body)


BENCH = Bench(
    f"{DATABASES * DAYS_OF_SETS:,} backup sets and the run records of {DAYS_OF_RECORDS} days in S3", sides, rounds=3
)
