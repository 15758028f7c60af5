"""A failed backup reports the reason, leaves no complete set, and does not disturb the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.backup.postgres import counting
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.take import facts, take
from jobs.backup.take.job import BACKUP
from jobs.retention.job import RETENTION
from jobs.run import Options, RunTimeouts, run_job
from jobs.run.job import Outcome
from jobs.run.record import Record
from tests.parts import postgres as servers
from tests.parts.backups import Team, section, team
from tests.parts.needs import majors, needs
from tests.parts.patience import deadline, until
from tests.parts.postgres import Database
from tests.parts.proxy import Proxy, Way
from tests.parts.runs import code_of, process

New = Callable[..., Database]
BacksUp = Callable[..., Team]
MakeProxy = Callable[..., Proxy]

ROWS = "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 8) body FROM generate_series(1, 40000) n"
AGAIN = RunTimeouts(work_retries=(0.01, 0.02), store_retries=(0.01, 0.02), kill_after=0.5, abandon_after=5)


@pytest.fixture
def shop(database: New) -> Database:
    """A database of about 12 MB."""
    created = database(16)
    created.run(ROWS)
    return created


@pytest.fixture
def proxied(shop: Database, proxy: MakeProxy) -> tuple[Proxy, str]:
    """A proxy in front of the server, and the URL of the database through it."""
    running = proxy(shop.server.target, http=False)
    return running, shop.url.replace(f":{shop.server.port}/", f":{running.port}/")


def dumps(shop: Database) -> list[int]:
    """Return the server processes of the dump programs that run now."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = current_database()"
    return [pid for (pid,) in shop.ask(query)]


def waits(shop: Database, query: str) -> bool:
    """Return whether a query like this waits for a lock."""
    return bool(shop.ask(f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{query}'"))


def test_a_set_that_a_wrong_clock_removed_meanwhile_is_not_completed(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging, store_description = backs_up(shop), take.store_description

    def remove_what_looks_abandoned(*args: Any, **options: Any) -> Any:
        clock = datetime.now(UTC) + timedelta(days=3)
        [pruned] = run_job(RETENTION, staging.environment, staging.store, Options(), now=lambda: clock)
        assert pruned.figures["swept"] == 1
        return store_description(*args, **options)

    monkeypatch.setattr(take, "LONG_BACKUP", timedelta(0))
    monkeypatch.setattr(take, "store_description", remove_what_looks_abandoned)
    record = staging.take()
    assert record.outcome is Outcome.FAILED
    assert "was changed while it was written: piece defs.0 is missing in the store" in record.sentence
    assert [each.complete for each in staging.sets()] == [False]


def test_a_cut_connection_is_retried_and_leaves_no_incomplete_set(
    shop: Database, proxied: tuple[Proxy, str], backs_up: BacksUp
) -> None:
    faulty, url = proxied
    staging = backs_up(shop, url=url)
    faulty.cut(at=3_000_000, way=Way.DOWN, times=3)
    record = staging.take(timeouts=AGAIN)
    assert record.outcome is Outcome.DONE, record.sentence
    assert record.attempts == 2
    assert [each.complete for each in staging.sets()].count(True) == 1

    faulty.cut(at=3_000_000, way=Way.DOWN, times=100)
    record = staging.take()
    assert record.outcome is Outcome.FAILED
    assert "part rest: pg_dump: error: " in record.sentence
    assert len([each for each in staging.sets() if each.complete]) == 1
    until(lambda: not dumps(shop))


def test_a_stalled_dump_fails(shop: Database, proxied: tuple[Proxy, str], backs_up: BacksUp) -> None:
    faulty, url = proxied
    staging = backs_up(shop, 'limits = { stall = "1s" }', url=url)
    faulty.stall(at=3_000_000, way=Way.DOWN, times=100)
    record = staging.take()
    assert "the dump stalled: no output for 1 s (limits.stall)" in record.sentence
    assert not any(each.complete for each in staging.sets())


def test_a_killed_server_fails_the_backup(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    with servers.start(15, tmp_path) as server:
        with server.connect() as connection:
            connection.execute(ROWS)
            for _ in range(4):
                connection.execute("INSERT INTO wide SELECT * FROM wide")
        staging = team(tmp_path / "team", section("shop", server.url()))
        with process(lambda: exit_code_of(staging)) as pid:
            until(lambda: list(staging.store.open_uploads("staging/backups/")))
            os.kill(server.pid, signal.SIGQUIT)
            assert code_of(pid) == 1
    assert not any(each.complete for each in staging.sets())
    assert list(staging.store.open_uploads()) == []


def exit_code_of(staging: Team) -> int:
    return 0 if staging.take().outcome is Outcome.DONE else 1


def test_a_wrong_password_is_not_retried_and_not_shown(shop: Database, backs_up: BacksUp) -> None:
    staging = backs_up(shop)
    os.environ["DB_PASSWORD"] = "hunter2-and-more"
    record = staging.take(timeouts=AGAIN)
    assert 'password authentication failed for user "postgres"' in record.sentence
    assert record.attempts == 1
    assert "hunter2" not in record.sentence + "".join(record.log)


def test_a_missing_database_is_not_retried(shop: Database, backs_up: BacksUp) -> None:
    record = backs_up(shop, url=f"{shop.url}_gone").take(timeouts=AGAIN)
    assert f'database "{shop.name}_gone" does not exist' in record.sentence
    assert record.attempts == 1


def test_a_server_newer_than_every_pg_dump_fails_the_backup(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (ClientProgram("pg_dump", "/usr/bin/pg_dump", "13.1"), ClientProgram("pg_dump", "/usr/bin/pg_dump", "15.1"))
    monkeypatch.setattr(take, "installed_clients", lambda _name: old)
    record = backs_up(shop).take()
    assert "can dump a PostgreSQL 16 server; install postgresql-client-16 (found: 13, 15)" in record.sentence


def test_a_failed_part_cancels_the_others_at_once(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The roles fail at once, while the rows would take ten minutes and the counts twenty."""
    monkeypatch.setattr(counting, "copy_statement", lambda *_, **__: "SELECT pg_sleep(1200)")
    monkeypatch.setattr(
        take, "pg_dumpall", lambda *_, **__: ["sh", "-c", "echo 'pg_dumpall: error: no luck' >&2; exit 1"]
    )
    monkeypatch.setattr(take, "pg_dump", lambda *_: ["sh", "-c", "exec sleep 600"])
    start = time.monotonic()
    record = backs_up(shop).take()
    assert record.sentence == "part roles: pg_dumpall: error: no luck"
    assert time.monotonic() - start < deadline(5)
    until(lambda: not shop.ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"))


def test_a_killed_program_leaves_no_part(shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the reader of a pipe, a killed writer looks like a finished one."""
    monkeypatch.setattr(take, "pg_dump", lambda *_: ["sh", "-c", "echo PGDMP; kill -9 $$"])
    staging = backs_up(shop)
    assert staging.take().outcome is Outcome.FAILED
    assert [entry.key for entry in staging.store.list("staging/backups/") if "roles" not in entry.key] == []


def test_an_alter_table_ahead_in_the_lock_queue_fails_the_backup_and_is_named(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ALTER TABLE waits for our lock, and pg_dump and all others wait behind it. The backup fails to let it through."""
    real, go = take.pg_dump, tmp_path / "go"
    late = f'until [ -e {go} ]; do sleep 0.05; done; exec "$@"'
    monkeypatch.setattr(take, "pg_dump", lambda *args: ["sh", "-c", late, "late", *real(*args)])
    staging = backs_up(shop, 'limits = { lock = "1s" }', "counts = false")
    records: list[Record] = []
    taking = threading.Thread(target=lambda: records.append(staging.take()))
    taking.start()
    until(lambda: shop.ask("SELECT 1 FROM pg_locks WHERE mode = 'AccessShareLock' AND relation = 'wide'::regclass"))
    with shop.connect(application_name="deploy") as other:
        changing = threading.Thread(target=lambda: other.execute("ALTER TABLE wide ADD b int"))
        changing.start()
        until(lambda: waits(shop, "ALTER TABLE wide%"))
        go.touch()
        changing.join()
    taking.join()
    assert (
        "waited 1 s for a lock: table public.wide is requested, ahead of us in the lock queue, by process"
        in records[0].sentence
    )
    assert "of postgres (deploy)" in records[0].sentence


def test_an_alter_table_during_the_row_counts_does_not_deadlock(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ALTER TABLE waits for our snapshot. A count queued behind it would wait for it, and both would wait forever."""
    real = counting.copy_statement
    shop.run(*(f"CREATE TABLE t{number} (a int)" for number in range(facts.TABLES_PER_QUERY)))
    blocked_count = "SELECT pg_advisory_lock_shared(1)"
    monkeypatch.setattr(
        counting,
        "copy_statement",
        lambda table, *args, **local: blocked_count if table == '"public"."wide"' else real(table, *args, **local),
    )
    staging = backs_up(shop, 'limits = { run = "5m" }')
    records: list[Record] = []
    taking = threading.Thread(target=lambda: records.append(staging.take()))
    change = f"ALTER TABLE t{facts.TABLES_PER_QUERY - 1} ADD b int"
    changing = threading.Thread(target=lambda: shop.run(change))
    with shop.connect() as other:
        other.execute("SELECT pg_advisory_lock(1)")
        taking.start()
        until(lambda: waits(shop, f"%{blocked_count}%") and len(list(staging.store.list("staging/backups/"))) == 3)
        changing.start()
        until(lambda: waits(shop, change))
    taking.join()
    changing.join()
    assert records[0].outcome is Outcome.DONE, records[0].sentence


@majors(13, 18)
def test_timeouts_of_the_database_do_not_end_a_backup(
    database: New, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    shop = database(major)
    shop.run("CREATE TABLE wide (a int)")
    limits = "SELECT name FROM pg_settings WHERE name ~ '^(statement|idle_in|transaction).*timeout$'"
    timeouts = [name for (name,) in shop.ask(limits)]
    assert ("transaction_timeout" in timeouts) == (major == 18)
    shop.run(*(f"ALTER DATABASE {shop.name} SET {name} = '700ms'" for name in timeouts))
    monkeypatch.setattr(counting, "copy_statement", lambda *_, **__: "SELECT pg_sleep(1.2)")
    record = backs_up(shop).take()
    assert record.outcome is Outcome.DONE, record.sentence


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_aborts_everything(
    shop: Database, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    real = take.pg_dump
    monkeypatch.setattr(take, "pg_dump", lambda *args: ["sh", "-c", '"$@"; sleep 60', "never", *real(*args)])
    staging = backs_up(shop)
    with process(lambda: exit_code_of(staging)) as pid:
        until(lambda: list(staging.store.open_uploads("staging/backups/")))
        os.kill(pid, number)
        assert code_of(pid) == 1
    assert not any(each.complete for each in staging.sets())
    assert list(staging.store.open_uploads()) == []
    until(lambda: not dumps(shop))


@pytest.mark.usefixtures("small_streams")
def test_a_killed_backup_is_listed_apart_and_does_not_disturb_the_next_run(database: New, backs_up: BacksUp) -> None:
    """Complete sets can be restored. test_chaos.py kills at other moments."""
    shop = database(16)
    shop.run(ROWS, "CREATE TABLE other AS SELECT * FROM wide LIMIT 10000")
    staging = backs_up(shop, "parallel = 2")
    short_lease = replace(BACKUP, lease=lambda _environment, _subject: timedelta(seconds=0.5))

    def dead_set() -> str | None:
        """Kill a backup as soon as its set has a part, and return the set, unless the backup was faster."""
        known = {each.id for each in staging.sets()}
        with process(lambda: len(run_job(short_lease, staging.environment, staging.store, Options()))) as pid:
            until(lambda: {each.id for each in staging.sets()} - known or code_of(pid, wait=False) is not None)
            if code_of(pid, wait=False) is None:
                os.kill(pid, signal.SIGKILL)
            code_of(pid)
        return next((each.id for each in staging.sets() if each.id not in known and not each.complete), None)

    dead = [until(dead_set, seconds=30), until(dead_set, seconds=30)]  # the second one takes over the first one's lock
    until(lambda: not dumps(shop))
    until(lambda: exit_code_of(staging) == 0)  # waits for the lease of the killed run
    complete = [each for each in staging.sets() if each.complete]
    assert complete
    for backup_set in complete:
        target = database(16)
        into = ("--into", target.url, "--password-from", "env:DB_PASSWORD")
        ended = staging.crew("backups", "restore", "staging", "shop", "--set", backup_set.id, *into)
        assert ended.returncode == 0, ended.stderr
        assert target.ask("SELECT (SELECT count(*) FROM wide), (SELECT count(*) FROM other)") == [(40_000, 10_000)]
    listed = staging.crew("backups", "list", "staging").stdout
    assert "left by failed runs" in listed
    assert all(listed.index(name) > listed.index("left by failed runs") for name in dead)


@needs("age")
def test_a_part_can_be_read_without_groundcrew(shop: Database, backs_up: BacksUp, tmp_path: Path) -> None:
    staging = backs_up(shop)
    assert staging.take().outcome is Outcome.DONE
    [backup_set] = staging.sets()
    stored = staging.folder / "store" / f"{backup_set.prefix}rest.0"
    line = f"age -d -i {staging.folder}/age.key {stored} | zstd -d | {servers.SERVERS[16]}/pg_restore --data-only -f -"
    read = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert read.stdout.count("\n40000\t") == 1


@majors(13, 18)
def test_schemas_that_swap_their_names_during_a_dump_fail_it(
    database: New, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    shop = database(major)
    shop.run(*(f'CREATE SCHEMA "{name}"; CREATE TABLE "{name}".t AS SELECT 1 AS a' for name in ("live", "the next")))
    plan_backup = take.plan_backup

    def then_swap(*arguments: Any) -> take.BackupPlan:
        plan = plan_backup(*arguments)
        renamed = (("live", "old"), ("the next", "live"), ("old", "the next"))
        shop.run(*(f'ALTER SCHEMA "{name}" RENAME TO "{new}"' for name, new in renamed))
        return plan

    monkeypatch.setattr(take, "plan_backup", then_swap)
    staging = backs_up(shop)
    record = staging.take()
    assert record.outcome is Outcome.FAILED
    assert "schemas were renamed during the dump" in record.sentence
    assert not any(each.complete for each in staging.sets())


def test_a_backup_does_not_wait_for_a_transaction_of_the_owner(shop: Database, backs_up: BacksUp) -> None:
    """The first query of a session that is serializable, read-only and deferrable by default waits for all others."""
    staging = backs_up(shop, 'limits = { run = "2m" }')
    with shop.connect() as owner:
        for setting in ("isolation = serializable", "read_only = on", "deferrable = on"):
            owner.execute(f"ALTER DATABASE {shop.name} SET default_transaction_{setting}".encode())
        owner.execute("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE")
        owner.execute("DELETE FROM wide WHERE n = 1")
        record = staging.take()
    assert record.outcome is Outcome.DONE, record.sentence


@needs("postgres-17")
def test_a_table_in_the_place_of_a_sequence_runs_code_as_the_backup_role(database: New, backs_up: BacksUp) -> None:
    """pg_dump reads sequences by name before PostgreSQL 18. No lock prevents it, so docs/security.md describes it."""
    shop = database(17)
    shop.run(
        "CREATE FUNCTION report(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN IF current_setting('application_name') = 'pg_dump' THEN "
        "RAISE EXCEPTION 'this ran as %', current_user; END IF; RETURN 1; END $$",
        "CREATE SCHEMA used; CREATE SEQUENCE used.s; CREATE SCHEMA planted; CREATE VIEW used.v AS SELECT 1 AS a",
        "CREATE TABLE planted.s (last_value bigint, is_called bool)",
        "CREATE INDEX ON planted.s ((public.report(1) + last_value))",
    )
    staging = backs_up(shop)
    with ThreadPoolExecutor() as pool, shop.connect() as owner:
        owner.execute("BEGIN; ALTER VIEW used.v SET (security_barrier)")  # pg_dump waits for its lock
        taken = pool.submit(staging.take)
        until(lambda: waits(shop, "%pg_get_viewdef%"))
        shop.run("ALTER SCHEMA used RENAME TO old; ALTER SCHEMA planted RENAME TO used")
        owner.execute("ROLLBACK")
        record = taken.result()
    assert "this ran as postgres" in record.sentence
