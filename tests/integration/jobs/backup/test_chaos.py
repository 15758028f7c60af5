"""Backups, restores and retention are killed while servers and the network fail. No data is ever lost.

`CHAOS_SEED=1234` repeats a run with the seed that it printed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from jobs.backup.sets.stored import open_set, read_part
from jobs.cli import run_command_line
from jobs.embedded import S3Server, seaweed
from jobs.retention.job import RETENTION
from jobs.run import Options, Outcome, run_job
from jobs.run.documents import utc_now
from jobs.run.runner import JobRunner
from jobs.store import Store
from tests.parts import postgres as servers
from tests.parts.backups import DiscardingSink, Team, section, team
from tests.parts.needs import needs
from tests.parts.patience import until
from tests.parts.proxy import Proxy, Way
from tests.parts.restarts import Restartable, restartable
from tests.parts.runs import code_of, process
from tests.parts.s3 import Bucket

KINDS = ("backup", "replace", "retention")
LEASE = 2.0
ROUNDS_PER_RESTART = 12
TABLES = {
    "wide": "SELECT n, 1 AS version, repeat(md5(n::text), 8) AS body FROM generate_series(1, 12000) n",
    "other": "SELECT n, 1 AS version FROM generate_series(1, 2000) n",
}
VERSIONS = """SELECT version FROM wide UNION SELECT version FROM other
    UNION SELECT -1 WHERE (SELECT count(*) FROM wide) <> 12000 OR (SELECT count(*) FROM other) <> 2000"""


@dataclass
class World:
    """A database, a bucket, and what can go wrong between them."""

    staging: Team
    store: Store
    server: servers.Server
    to_database: Proxy
    to_store: Proxy
    database_program: Restartable
    store_program: Restartable
    chance: random.Random
    took: dict[str, float] = field(default_factory=dict)
    version: int = 1
    """The version of all rows of the database now."""
    newest_version: int = 1

    def crew(self, *args: str) -> int:
        """Run a command in a process of its own and return its exit code."""
        with process(lambda: self._command(args)) as pid:
            code = code_of(pid)
        assert code is not None
        return code

    def _command(self, args: tuple[str, ...]) -> int:
        return run_command_line(["--root", str(self.staging.folder), *args])

    def arguments(self, kind: str) -> tuple[str, ...]:
        """Return the command line of one of the three kinds of work."""
        if kind == "replace":
            into = ("--into", self.server.url("shop").replace(f":{self.server.port}/", f":{self.to_database.port}/"))
            return ("backups", "restore", "staging", "shop", *into, "--password-from", "env:DB_PASSWORD", "--replace")
        return ("run", kind, "staging")

    def measure(self) -> None:
        """Note how long each kind of work takes when nothing fails."""
        for kind in KINDS:
            start = time.monotonic()
            assert self.crew(*self.arguments(kind)) == 0
            self.took[kind] = time.monotonic() - start

    def work(self, kind: str) -> bool:
        """Do one piece of work while something fails, and check the database; return whether the work was killed."""
        before = self.version
        if kind == "backup":
            before = self.change()
        self._add_faults()
        beside = self.chance.choice((*KINDS, *[""] * 6))
        with process(lambda: self._command(self.arguments(beside)) if beside else 0) as other:
            was_killed = self._kill(kind)
            code_of(other)
        self.to_database.clear()
        self.to_store.clear()
        if self.chance.random() < 0.8:  # else the next run of that kind finds the lock of a dead run
            self.store.delete([entry.key for entry in self.store.list("staging/locks/")])
        self._check_database(before, may_change="replace" in (kind, beside))
        return was_killed

    def _kill(self, kind: str) -> bool:
        """Start a piece of work, and kill it at a random moment, unless it may end; sometimes kill a server before."""
        moment, server_fails, may_end = (self.chance.random() for _ in range(3))
        with process(lambda: self._command(self.arguments(kind))) as pid:
            time.sleep(self.took[kind] * moment)
            if server_fails < 1 / ROUNDS_PER_RESTART:
                self.chance.choice((self.database_program, self.store_program)).restart()
            is_killed = may_end > 0.1 and code_of(pid, wait=False) is None
            if is_killed:
                os.kill(pid, signal.SIGKILL)
            code_of(pid)
        return is_killed

    def _add_faults(self) -> None:
        """Let the network fail in about every second round."""
        at = int(10 ** self.chance.uniform(0, 6))
        way = self.chance.choice((Way.UP, Way.DOWN))
        fault = self.chance.randrange(8)
        if fault == 0:
            self.to_store.answer(times=self.chance.randrange(1, 6))
        elif fault == 1:
            self.to_store.cut(at=at, way=way, times=2)
        elif fault == 2:
            self.to_store.corrupt(at=at, way=way)
        elif fault == 3:
            self.to_database.cut(at=at, way=Way.DOWN)

    def change(self) -> int:
        """Change every row of the database in one transaction, and return the new version."""
        self.newest_version += 1
        with self.server.connect("shop") as connection, connection.transaction():
            for table in TABLES:
                connection.execute(f"UPDATE {table} SET version = {self.newest_version}")
        self.version = self.newest_version
        return self.version

    def _check_database(self, before: int, *, may_change: bool) -> None:
        """Fail unless the database exists, is one version as a whole, and the version before it still exists."""
        self.version = self._version_of("shop")
        if self.version != before:
            assert may_change
            assert before in [self._version_of(name) for name in self.databases("shop_replaced_%")]
        self.drop(*self.databases("shop_replaced_%"))

    def _version_of(self, database: str) -> int:
        """Return the version of all rows; fail if there are several, or if rows are missing."""
        with self.server.connect(database) as connection:
            found = [version for (version,) in connection.execute(VERSIONS).fetchall()]
        assert len(found) == 1, (database, found)
        assert 1 <= found[0] <= self.newest_version, (database, found)
        return int(found[0])

    def databases(self, like: str) -> list[str]:
        """Return the names of copies of the database."""
        with self.server.connect() as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (like,)).fetchall()
        return [name for (name,) in rows]

    def drop(self, *names: str) -> None:
        """Drop databases, as a user drops those that were replaced."""
        with self.server.connect() as connection:
            for name in names:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def settle(self) -> None:
        """Let each kind of work end well once more."""
        until(lambda: self.crew(*self.arguments("backup")) == 0, seconds=30)
        with self.server.connect() as connection:  # a restore drops only copies that are older than a minute
            for number, name in enumerate(self.databases("shop_restoring_%")):
                connection.execute(f'ALTER DATABASE "{name}" RENAME TO shop_restoring_20260101_{number:06}')
        until(lambda: self.crew(*self.arguments("replace")) == 0, seconds=30)
        self._version_of("shop")
        prune_in_two_days(self.staging)

    def sessions(self) -> list[str]:
        """Return the sessions that programs still have on the server."""
        with self.server.connect() as connection:
            return [
                name
                for (name,) in connection.execute(
                    "SELECT application_name FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                ).fetchall()
            ]


def prune_in_two_days(staging: Team) -> None:
    """Run retention with a clock that is two days ahead: it keeps what dead runs have left for a day."""
    options, ahead = Options(), timedelta(days=2)
    [record] = run_job(RETENTION, staging.environment, staging.store, options, now=lambda: utc_now() + ahead)
    assert record.outcome is Outcome.DONE, record.sentence


def leftovers(team: Team) -> list[str]:
    """Return what dead runs have left in the store."""
    incomplete = [each.id for each in team.sets() if not each.complete]
    return [*incomplete, *(upload.key for upload in team.store.open_uploads())]


def lists(server: S3Server) -> bool:
    """Return whether an S3 server answers."""
    with suppress(Exception):
        server.client().list_objects_v2(Bucket=server.bucket, MaxKeys=1)
        return True
    return False


def answers(server: servers.Server) -> bool:
    """Return whether a server accepts connections."""
    with suppress(psycopg.OperationalError), server.connect():
        return True
    return False


@contextmanager
def chaotic_world(folder: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Start servers of our own, since they are killed, with a proxy in front of each."""
    monkeypatch.setattr(JobRunner, "_lease_seconds", lambda _self, _run: LEASE)
    for name in ("pg", "s3", "team", "tmp"):
        (folder / name).mkdir()
    durable = {"synchronous_commit": "on"}  # a killed server keeps what was committed
    with servers.start(16, folder / "pg", durable) as server, seaweed(folder / "s3") as bucket:
        to_database = Proxy(server.target, http=False)
        to_store = Proxy(Bucket(bucket.endpoint, bucket.bucket).target)
        place = Bucket(to_store.endpoint, bucket.bucket, key=bucket.key, secret=bucket.secret)
        for variable, value in place.environment.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        with server.connect() as connection:
            connection.execute("CREATE DATABASE shop")
        with server.connect("shop") as connection:
            for table, query in TABLES.items():
                connection.execute(f"CREATE TABLE {table} AS {query}")
        url = f"postgresql://postgres@127.0.0.1:{to_database.port}/shop"
        staging = team(folder / "team", section("shop", url, "keep = { last = 3 }", 'shrink = "off"'), place)
        with (
            restartable(server.running.program, signal.SIGQUIT, lambda: answers(server)) as database_program,
            restartable(bucket.program, signal.SIGKILL, lambda: lists(bucket)) as store_program,
        ):
            yield World(staging, staging.store, server, to_database, to_store, database_program, store_program, chance)
        to_database.close()
        to_store.close()


@pytest.mark.long
@pytest.mark.usefixtures("small_streams")
@pytest.mark.parametrize("kills", [(4, 2, 1), pytest.param((100, 50, 30), marks=pytest.mark.release)])
def test_no_kill_and_no_fault_loses_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, int, int]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    left = dict(zip(KINDS, kills, strict=True))
    with chaotic_world(tmp_path, chance, monkeypatch) as world:
        world.measure()
        while any(left.values()):
            [kind] = chance.choices(KINDS, list(left.values()))
            left[kind] -= world.work(kind)
            print(f"{kind}: kills left: {left}")
        world.settle()
        assert leftovers(world.staging) == []
        assert world.databases("shop_restoring_%") == []
        until(lambda: not world.sessions(), saw=world.sessions)
        sets = world.staging.sets()
        assert sets
        for backup_set in sets:
            assert world.crew("backups", "verify", "staging", "shop", "--set", backup_set.id) == 0
        assert list((tmp_path / "tmp").iterdir()) == []


@contextmanager
def small_store_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 20 MB for the duration of the block: enough for the spare file."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@needs("root")
def test_a_full_disk_spoils_no_set_and_retention_frees_it(
    database: Callable[..., servers.Database], tmp_path: Path
) -> None:
    shop = database(16)
    shop.run("CREATE TABLE random AS SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 60000)")
    with small_store_disk(tmp_path / "store"):
        staging = team(tmp_path, section("shop", shop.url, "keep = { last = 1 }"))
        records = [staging.take()]
        while records[-1].outcome is Outcome.DONE:
            records.append(staging.take())
        assert "the disk is full" in records[-1].sentence
        listed = [each for each in staging.sets() if each.complete]
        assert len(records) - 1 <= len(listed) <= len(records), "the disk is full for the record too"
        for backup_set in listed:
            stored = open_set(staging.store, backup_set, staging.environment.store.decrypt_with)
            for part in stored.manifest.parts:
                read_part(stored, part, DiscardingSink())
        prune_in_two_days(staging)
        assert leftovers(staging) == []
        assert [each.id for each in staging.sets()] == [max(listed, key=lambda each: each.sort_key).id]
        assert staging.take().outcome is Outcome.DONE
        assert staging.crew("backups", "verify", "staging", "shop").returncode == 0
