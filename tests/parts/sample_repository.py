"""A repository with a week of runs: growing backups, a failed one, drift, a bill, and an invalid environment file."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inventories import Repository
from jobs.backup.sets.results import result_name
from jobs.cost import cache
from jobs.run import Job, Options, Outcome, Result, run_job
from jobs.store import open_store
from tests.parts.bills import Account
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
    """Write four sets a day for a week; the second newest is verified."""
    for number in range(28):
        at = now - timedelta(hours=6 * (27 - number) + 1)
        folder = store / "production" / "backups" / "shop" / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{number:04x}"
        folder.mkdir(parents=True)
        with (folder / "rest.0").open("wb") as piece:
            piece.truncate(1_000_000_000 + number * 15_000_000 + number % 3 * 9_000_000)
        verified = result_name(at + timedelta(minutes=30), b"{}", failed=False)
        names = ["manifest.json", *([verified] if number == 26 else [])]
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}")
            os.utime(folder / name, (at.timestamp(), at.timestamp()))


def _runs(repository: Repository, now: datetime) -> None:
    env = repository.read("production")
    assert env.store
    store = open_store(env.store)
    results = {
        ("backup", "shop"): Result(Outcome.DONE, "1.4 GB in 31.2 s, stored as 412 MB in 4 parts", {"stored_bytes": 5}),
        ("backup", LONG_NAME): Result(Outcome.FAILED, "crm.internal: <no route> to host & no backup"),
        ("drift", "network"): Result(Outcome.DONE, "no drift"),
        ("drift", "cluster"): Result(Outcome.FINDING, "1 changed: aws_security_group.db"),
    }
    for (name, subject), result in results.items():
        job = Job(name, lambda _e, _store, _o, s=subject: [s], lambda _run, r=result: r, lambda _e, _s: None)  # type: ignore[misc]
        for hours in (5, 1):
            run_job(job, env, store, Options(), now=lambda hours=hours: now - timedelta(hours=hours))  # type: ignore[misc]
