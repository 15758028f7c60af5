"""A repository with 90 days of runs: growing backups, failed and missing ones, drift, a bill, and an invalid file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inventories import Repository
from jobs.backup.sets.results import result_name
from jobs.cost import cache
from jobs.run import Job, Options, Outcome, Record, Result, run_job
from jobs.run.context import new_run_id
from jobs.run.record import record_to
from jobs.store import open_store
from tests.parts.bills import Account
from tests.parts.runs import clock, job
from tests.parts.store import mark

PRODUCTION = """
[environment]
name = "production"
timezone = "Europe/Berlin"
[store]
url = "file://{store}"
encrypt_to = "nobody"
sign_with = "nobody"
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
backup = "0 */6 * * *"
verify = "0 5 * * 0"
[databases.stock]
url = "postgresql://backup@stock.internal/stock"
backup = "0 2 * * *"
retention = "30 6 * * *"
[databases.crm-with-a-rather-long-name-for-a-phone]
url = "postgresql://backup@crm.internal/crm"
backup = "0 2 * * *"
[terraform]
state = {{ bucket = "acme-state", region = "eu-central-1", lock_table = "acme-locks" }}
[stacks.network]
[stacks.cluster]
[cost]
budget = 330
[status]
at = "*/30 * * * *"
"""
STAGING = (
    '[environment]\nname = "staging"\n[store]\nurl = "file://{store}"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
)
LONG_NAME = "crm-with-a-rather-long-name-for-a-phone"


def build(root: Path, now: datetime) -> Repository:
    """Write the repository as of `now`."""
    folder = root / "inventories"
    folder.mkdir()
    for name, text in (("production", PRODUCTION), ("staging", STAGING), ("ruin", "nonsense = 1\n")):
        (folder / name).write_text("servers = []\n")
        (folder / f"{name}.toml").write_text(text.format(store=root / "store"))
    for name in ("production", "staging"):
        mark(root / "store", name)
    repository = Repository.find(root)
    _sets(root / "store", now)
    _runs(repository, now)
    env = repository.read("production")
    assert env.store
    account = Account(odd={str(now.date()): "87"}, credits={str(now.date()): "-40"})
    cache.cached_bill(env, open_store(env.store), now, lambda _env, asked: account.bill(asked))
    return repository


def _sets(store: Path, now: datetime) -> None:
    """Write four sets of shop a day for a week, the second newest verified, and one set of each other database."""
    for number in range(28):
        at = now - timedelta(hours=6 * (27 - number) + 1)
        _set(store / "production" / "backups" / "shop", at, _size(number / 4 + 83), number, verified=number == 26)
    _set(store / "production" / "backups" / "stock", now - timedelta(hours=1), 61_000_000, 0, verified=True)
    _set(store / "production" / "backups" / LONG_NAME, now - timedelta(days=2), 7_000_000, 0, verified=False)


def _set(database: Path, at: datetime, size: int, number: int, *, verified: bool) -> None:
    folder = database / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{number:04x}"
    folder.mkdir(parents=True)
    with (folder / "rest.0").open("wb") as piece:
        piece.truncate(size)
    result = result_name(at + timedelta(minutes=30), b"{}", failed=False)
    for name in ["manifest.json", *([result] if verified else [])]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
        os.utime(folder / name, (at.timestamp(), at.timestamp()))


def _size(day: float) -> int:
    return int(900_000_000 + day * 5_600_000 + day % 3 * 9_000_000)


def _runs(repository: Repository, now: datetime) -> None:
    env = repository.read("production")
    assert env.store
    store = open_store(env.store)
    size, seconds = _size(90), 34.6
    results = {
        ("backup", "shop"): Result(
            Outcome.DONE,
            f"4.2 GB in {seconds} s, stored as 1.4 GB in 4 parts",
            {"stored_bytes": size, "seconds": seconds},
        ),
        ("backup", "stock"): Result(Outcome.DONE, "160 MB in 4.1 s", {"stored_bytes": 61_000_000, "seconds": 4.1}),
        ("backup", LONG_NAME): Result(Outcome.FAILED, "crm.internal: <no route> to host & no backup"),
        ("verify", "shop"): Result(Outcome.DONE, "verified: restored in 71.0 s", {"seconds": 71.0}),
        ("verify", "stock"): Result(Outcome.DONE, "verified: restored in 6.3 s", {"seconds": 6.3}),
        ("retention", "stock"): Result(Outcome.DONE, "removed 1 set, 61 MB"),
        ("drift", "network"): Result(Outcome.DONE, "no drift"),
        ("drift", "cluster"): Result(Outcome.FINDING, "1 changed: aws_security_group.db"),
    }
    for (name, subject), result in results.items():
        for hours in (88 * 24, 5, 1):
            good = replace(result, outcome=Outcome.DONE) if hours > 24 else result
            run_job(_job(name, subject, good), env, store, Options(), now=clock(now - timedelta(hours=hours)))
    for record in history(now):
        store.put(record.key, record_to(record))


def _job(name: str, subject: str, result: Result) -> Job:
    return replace(job(lambda _run: result, subject, compared=("stored_bytes", "seconds")), name=name)


def history(now: datetime) -> Iterator[Record]:
    """Yield the records of the days before: two failed days and three missing ones of shop, weekly verifications."""
    for day in range(1, 88):
        at = now - timedelta(days=day)
        for hour in () if day in (40, 41, 42) else (0, 6, 12, 18):
            outcome = Outcome.FAILED if day in (12, 63) else Outcome.DONE
            figures = {"stored_bytes": _size(90 - day), "seconds": 30 + (90 - day) * 0.05 + hour / 3}
            yield _record("backup", "shop", at - timedelta(hours=hour), outcome, figures)
        if day % 7 == 2:
            yield _record("verify", "shop", at, Outcome.DONE, {"seconds": 70.0})
        stock = {"stored_bytes": 60_000_000 - day * 2_000, "seconds": 4 + day % 5 * 0.2}
        yield _record("backup", "stock", at, Outcome.DONE, stock)
        yield _record("verify", "stock", at + timedelta(hours=1), Outcome.FAILED if day == 30 else Outcome.DONE, {})
        if day > 1:
            yield _record("backup", LONG_NAME, at, Outcome.DONE, {"stored_bytes": 7_000_000, "seconds": 2.0})


def _record(job: str, subject: str, at: datetime, outcome: Outcome, figures: Mapping[str, int | float | str]) -> Record:
    return Record(
        environment="production", job=job, subject=subject, run=new_run_id(at), tick=None, started=at, ended=at,
        outcome=outcome, sentence="", figures=figures, about="", attempts=1, stopped=None, host="runner-1", pid=1,
        scheduled=True, took_over=None, missed=None, log=(),
    )  # fmt: skip
