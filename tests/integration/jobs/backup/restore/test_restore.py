"""Restore backups through the command line on real servers, and when something fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.lock import restore_lock
from jobs.run.context import RunContext
from tests.bench.measure import Peaks
from tests.parts import terminal
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors, needs
from tests.parts.patience import deadline, until
from tests.parts.portrait import differences, portrait
from tests.parts.postgres import Database, Server, extension
from tests.parts.rewriting import rewrite_description

Shop = Callable[..., Database]
New = Callable[..., Database]


def restore(repository: Repository, into: Database, *options: str, name: str = "shop") -> tuple[int, str]:
    password = f"file:{repository.password(into)}"
    ended = repository.crew(
        "backups", "restore", "staging", name, "--into", into.url, "--password-from", password, *options
    )
    return ended.code, ended.out + ended.err


def compare(one: Database, other: Database, *, ignore: set[str] | None = None) -> list[str]:
    """Return the differences between two databases."""
    portraits = (portrait(database.url, password=database.password) for database in (one, other))
    return differences(*portraits, ignore=ignore or set())


def databases_like(server: Server, name: str) -> list[str]:
    with server.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s ORDER BY 1", [f"{name}%"])
        return [row[0] for row in rows]


@pytest.fixture
def dropped(postgres: Callable[[int], Server]) -> Iterator[Callable[[int, str], Database]]:
    """Return names for databases that a restore creates. They and what they replaced are dropped after the test."""
    databases: list[Database] = []

    def new(major: int, name: str) -> Database:
        databases.append(Database(postgres(major), name))
        return databases[-1]

    yield new
    for database in databases:
        with database.server.connect() as connection:
            for name in databases_like(database.server, database.name):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@majors(13, 14, 15, 16, 18)
def test_a_round_trip_loses_nothing(
    major: int, repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(major, extensions=True)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    again = dropped(major, f"{origin.name}_again")
    code, output = restore(repository, again, "--create")
    assert code == 0, output
    others = partial(again.ask, "SELECT relname, analyze_count FROM pg_stat_user_tables WHERE analyze_count <> 1")
    until(lambda: others() == [], saw=others)
    assert again.ask("SELECT DISTINCT inherited FROM pg_stats WHERE tablename = 'events'") == [(True,)]
    assert compare(origin, again) == []


def test_restores_a_set_of_an_old_server_on_a_new_one(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(15)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    again = dropped(18, f"{origin.name}_again")
    with again.server.connect() as connection:
        connection.execute('DROP ROLE IF EXISTS "shop owner", shop_reader')
    code, output = restore(repository, again, "--create")
    assert code == 0, output
    assert "Created the missing roles: shop owner, shop_reader." in output
    assert again.ask("SELECT count(*) FROM pg_roles WHERE rolname IN ('shop owner', 'shop_reader')") == [(2,)]
    assert compare(origin, again, ignore={"views", "privileges"}) == []

    again.run("ALTER ROLE shop_reader CONNECTION LIMIT 3")
    code, output = restore(repository, again, "--replace")
    assert code == 0, output
    assert "Created the" not in output
    assert again.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'shop_reader'") == [(3,)]
    again.run("ALTER ROLE shop_reader CONNECTION LIMIT -1")


def test_restores_into_an_empty_database_only(repository: Repository, shop: Shop, database: New) -> None:
    origin, target = shop(16), database(16)
    repository.environment(text=repository.section("shop", origin), encrypt=False)
    repository.backup()
    code, output = restore(repository, target)
    assert code == 0, output
    assert compare(origin, target) == []
    code, output = restore(repository, target)
    assert code == 1, output
    assert "is not empty" in output
    assert "--replace" in output
    code, output = restore(repository, target, "--create")
    assert code == 1, output
    assert "already exists" in output


def test_a_restore_into_an_empty_database_that_differs_from_the_manifest_stays_closed(
    repository: Repository, database: New
) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n")
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    rewrite_description(repository.folder(taken), repository.identity, lambda body: body["tables"][0].update(rows=2))
    code, output = restore(repository, target)
    assert code == 1, output
    assert "table public.a: 2 rows expected, 1 rows found" in output
    assert f"{target.name} now holds a part of the set: only superusers can connect to it; drop and create" in output
    limit = target.ask("SELECT datconnlimit FROM pg_database WHERE datname = current_database()")
    assert limit == [(0,)], "others could read tables that have no row security yet"


def test_a_sequence_that_was_set_back_during_the_backup_is_noted(
    repository: Repository, database: New, dropped: Callable[[int, str], Database]
) -> None:
    origin = database(16)
    origin.run("CREATE SEQUENCE ids MAXVALUE 60 CYCLE", "SELECT setval('ids', 6)")
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    rewrite_description(
        repository.folder(taken), repository.identity, lambda body: body["sequences"][0].update(last=54)
    )
    note = "sequences cycled or were set back during the backup (public.ids: 54 expected, 6)"
    created = dropped(16, f"{origin.name}_cycled")
    for target, options in ((created, ("--create",)), (created, ("--replace",)), (database(16), ())):
        code, output = restore(repository, target, *options)
        assert code == 0, output
        assert note in output
        assert target.ask("SELECT last_value FROM ids") == [(6,)]
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified
    assert note in verified.out


def test_restores_an_older_state_in_parallel_with_statistics(
    repository: Repository, database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT n FROM generate_series(1, 1000) n", "CREATE INDEX ON a (n)")
    repository.environment(text=repository.section("shop", origin))
    first = repository.backup()
    origin.run("DELETE FROM a WHERE n > 700")
    time.sleep(1)  # the ids of sets have a resolution of one second
    repository.backup()
    started: list[list[str]] = []
    real = RunContext.process
    monkeypatch.setattr(
        RunContext, "process", lambda run, argv, **popen: (started.append(list(argv)), real(run, argv, **popen))[1]
    )
    begun = datetime.strptime(first.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    code, output = restore(repository, target, "--before", begun.isoformat(), "--parallel", "3")
    assert code == 0, output
    assert f"(set {first}, " in output
    assert target.ask("SELECT count(*) FROM a") == [(1000,)]
    assert target.ask("SELECT reltuples FROM pg_class WHERE relname = 'a'") == [(1000.0,)]
    assert target.ask("SELECT n_distinct FROM pg_stats WHERE tablename = 'a'") == [(-1.0,)]
    assert any("--section=post-data" in argv and "--jobs=3" in argv for argv in started), started


def test_replaces_a_database_in_use_and_keeps_the_old_one(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_used")
    code, output = restore(repository, target, "--create")
    assert code == 0, output
    target.run("DROP TABLE staff", "REVOKE CONNECT ON DATABASE " + target.name + " FROM PUBLIC")
    with in_use(target) as ended:
        code, output = restore(repository, target, "--replace")
    assert code == 0, output
    assert ended, "connections to the replaced database end"
    assert compare(origin, target) == []
    [now, kept] = databases_like(target.server, target.name)
    assert now == target.name
    assert kept in output
    assert Database(target.server, kept).ask("SELECT to_regclass('staff')") == [(None,)]
    assert target.ask("SELECT has_database_privilege('shop_reader', current_database(), 'CONNECT')") == [(False,)]


def test_replacing_keeps_the_tablespace_and_who_can_connect(
    repository: Repository, database: New, dropped: Callable[[int, str], Database]
) -> None:
    origin = database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_private")
    with target.server.connect() as server:
        server.execute("SET allow_in_place_tablespaces = on")
        server.execute("CREATE TABLESPACE fast LOCATION ''")
        try:
            server.execute(f"CREATE DATABASE {target.name} TABLESPACE fast")
            server.execute(f"REVOKE ALL ON DATABASE {target.name} FROM PUBLIC, postgres")
            code, output = restore(repository, target, "--replace")
            assert code == 0, output
            assert target.ask("SELECT n FROM a") == [(1,)]
            assert target.ask(
                "SELECT spcname, datacl::text FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace"
                " WHERE datname = current_database()"
            ) == [("fast", "{}")]
        finally:
            for name in databases_like(target.server, target.name):
                server.execute(f"DROP DATABASE {name}")
            server.execute("DROP TABLESPACE fast")


def test_two_restores_never_write_to_the_same_database(
    repository: Repository, database: New, dropped: Callable[[int, str], Database]
) -> None:
    origin, empty = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    for target, options in ((empty, ()), (dropped(16, f"{origin.name}_new"), ("--create",)), (origin, ("--replace",))):
        with restore_lock(Endpoint(conninfo_to_dict(target.url), target.password)):
            code, output = restore(repository, target, *options)
        assert code == 75, output
        assert f"database {target.name}: another restore or refresh of it is running: groundcrew restore on" in output
        assert f"(pid {os.getpid()}), as role postgres since" in output
    assert databases_like(origin.server, origin.name) == [origin.name]
    code, output = restore(repository, empty)
    assert code == 0, output


def test_the_lock_is_free_although_the_process_of_its_connection_ends_later(
    database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = database(16)
    into = Endpoint(conninfo_to_dict(target.url), target.password)
    open_still: list[psycopg.Connection[Any]] = []

    def stay_open(connection: psycopg.Connection[Any]) -> None:
        open_still.append(connection)

    monkeypatch.setattr(psycopg.Connection, "close", stay_open)
    with restore_lock(into):
        pass
    with restore_lock(into):
        pass
    monkeypatch.undo()
    for connection in open_still:
        connection.close()


def test_a_restore_that_lost_its_lock_does_not_swap(
    repository: Repository, database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    origin.run("INSERT INTO a VALUES (2)")
    real = RunContext.step

    def step(run: RunContext, name: str) -> AbstractContextManager[None]:
        if name == "swap":
            locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            origin.run(f"SELECT pg_terminate_backend(pid) FROM ({locks}) locks")
        return real(run, name)

    monkeypatch.setattr(RunContext, "step", step)
    code, output = restore(repository, origin, "--replace")
    assert code == 1, output
    assert f"the lock on database {origin.name} was lost" in output
    assert f"{origin.name} is unchanged" in output
    assert databases_like(origin.server, origin.name) == [origin.name]


@contextmanager
def in_use(database: Database) -> Iterator[list[str]]:
    """Query a database repeatedly, and connect again when the connection ends."""
    done, ended = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            try:
                with database.connect() as connection:
                    while not done.is_set():
                        connection.execute("SELECT count(*) FROM customers")
            except psycopg.Error as error:
                ended.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield ended
    finally:
        done.set()
        thread.join()


def test_names_a_damaged_part_and_keeps_the_old_database(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    target = dropped(16, f"{origin.name}_flipped")
    code, output = restore(repository, target, "--create")
    assert code == 0, output
    for piece in repository.pieces(taken):
        whole = piece.read_bytes()
        flip(piece)
        code, output = restore(repository, target, "--replace")
        assert code == 1, output
        assert f"part {piece.stem} of set {taken} of staging/shop is damaged" in output
        comes_first = piece.stem in {"description", "roles", "defs"}
        assert (f"{target.name} is unchanged" in output) != comes_first
        assert databases_like(target.server, target.name) == [target.name]
        piece.write_bytes(whole)
    assert compare(origin, target) == []


def test_names_a_damaged_part_without_encryption(repository: Repository, shop: Shop, database: New) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin), encrypt=False)
    taken = repository.backup()
    rest = next(piece for piece in repository.pieces(taken) if piece.stem == "rest")
    damages: list[tuple[Callable[[Path], object], str]] = [
        (flip, "now holds a part of the set"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "piece rest.0 has only"),  # found before the restore
        (lambda path: path.unlink(), "piece rest.0"),
    ]
    for damage, expected in damages:
        damage(rest)
        target = database(16)
        code, output = restore(repository, target)
        assert code == 1, output
        assert f"part rest of set {taken} of staging/shop is damaged" in output
        assert expected in output


def test_a_failed_restore_leaves_no_database(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_failing")
    done = threading.Event()

    def end_copies() -> None:
        with origin.server.connect() as connection:
            while not done.is_set():
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname LIKE %s AND query LIKE 'COPY%%'",
                    [f"{target.name}_restoring%"],
                )

    ending = threading.Thread(target=end_copies)
    ending.start()
    try:
        code, output = restore(repository, target, "--create")
    finally:
        done.set()
        ending.join()
    assert code == 1, output
    assert " of part " in output
    assert databases_like(target.server, target.name) == []


@needs("root")
def test_reports_a_full_disk_of_the_server(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database], tmp_path: Path
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_full")
    with small_disk(origin.server, tmp_path / "disk"):
        origin.run(f"CREATE DATABASE {target.name} TEMPLATE template0 TABLESPACE small")
        code, output = restore(repository, target)
        origin.run(f"DROP DATABASE {target.name}")
    assert code == 1, output
    assert " of part " in output  # whichever part comes first on a busy machine
    assert "No space left on device" in output
    assert "now holds a part of the set: only superusers can connect to it; drop and create the database" in output


@contextmanager
def small_disk(server: Server, folder: Path) -> Iterator[None]:
    """Create a tablespace `small` on a disk of 16 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", folder], check=True)
    try:
        owner = server.running.data.stat()
        (folder / "small").mkdir()
        os.chown(folder / "small", owner.st_uid, owner.st_gid)
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}/small'")
            yield
            connection.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_protected_environment_needs_a_confirmation(repository: Repository, shop: Shop, database: New) -> None:
    origin = shop(16)
    repository.environment("production", repository.section("shop", origin), protected=True)
    repository.environment(text=repository.section("shop", origin))
    repository.backup("shop", "production")
    repository.backup()
    by_socket = origin.server.socket_url(origin.name)
    by_name = ("backups", "restore", "staging", "shop", "--replace", "--into", by_socket)
    password = ("--password-from", f"file:{repository.password(origin)}")
    refused = repository.crew(*by_name, *password)
    assert refused.code == 64, refused
    assert "--yes-to production" in refused.err
    planned = repository.crew(*by_name, *password, "--dry-run")
    assert planned.code == 0, planned
    assert "belongs to the protected environment production; the restore asks for its name, or needs" in planned.err
    assert "Would restore" in planned.out
    code, output = restore(repository, origin, "--replace", "--dry-run", "--yes-to", "production")
    assert (code, "protected" in output) == (0, False), output
    crew = [sys.executable, "-m", "jobs.cli", "--root", str(repository.root), "backups", "restore", "staging", "shop"]
    argv = [*crew, "--replace", "--into", origin.url, "--password-from", f"file:{repository.password(origin)}"]
    for answer, reason in (("staging", "nothing was restored: the answer was not"), ("", "stopped by SIGINT")):
        code, output = terminal.answered(argv, os.environ, "type the environment's name: ", answer)
        assert code == 1, output
        assert reason in output
    argv = [*crew, "--replace", "--dry-run", "--yes-to", "production", "--into", by_socket]
    for answer, expected, text in ((origin.password, 0, "Would restore"), ("", 1, "stopped by SIGINT")):
        code, output = terminal.answered(argv, os.environ, "Password for postgres: ", answer)
        assert code == expected, output
        assert text in output
        assert origin.password not in output
    code, output = restore(repository, database(16), "--dry-run")
    assert code == 0, output


def test_replacing_needs_an_answer_from_every_protected_environment(repository: Repository, database: New) -> None:
    origin = database(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    elsewhere = f'[databases.shop]\nurl = "postgresql://me@vault.internal/{origin.name}"\n'
    repository.environment("vault", elsewhere, protected=True)
    manifest = repository.store / "vault/backups/shop/20261121T020000Z-3f9a/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not readable")
    code, output = restore(repository, origin, "--replace")
    assert code == 64, output
    assert f"cannot tell whether {origin.name} belongs to the protected environment vault" in output
    code, output = restore(repository, origin, "--replace", "--dry-run")
    assert code == 0, output
    assert "the restore asks for its name, or needs --yes-to vault" in output
    code, output = restore(repository, database(16), "--dry-run")
    assert code == 0, output


def test_a_password_in_the_url_is_never_shown(repository: Repository, shop: Shop, database: New) -> None:
    origin, target = shop(16), database(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    secret = "hunter2%20of%20wrong"
    refused = repository.crew(
        "backups", "restore", "staging", "shop", "--into", target.url.replace("postgres@", f"postgres:{secret}@")
    )
    assert refused.code == 1, refused
    assert "password authentication failed" in refused.err
    assert "hunter2" not in refused.out + refused.err


def test_a_role_without_superuser_rights_owns_what_it_restores(
    repository: Repository, shop: Shop, database: New
) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n", "CREATE ROLE accountant", "CREATE POLICY p ON a USING (n > 1)")
    reads = "has_table_privilege('clerk', 'public.a', 'SELECT')"  # to be false until row security is enabled
    origin.run(
        "CREATE TABLE b AS SELECT 1 AS n",
        "ALTER TABLE b ADD PRIMARY KEY (n)",
        "ALTER TABLE a ADD FOREIGN KEY (n) REFERENCES b",
        "CREATE ROLE clerk",
        "CREATE FUNCTION number(int) RETURNS bigint IMMUTABLE LANGUAGE sql AS "
        f"$$ SELECT count(*) + $1 / (1 - {reads}::int) FROM public.a $$",
        "CREATE INDEX ON b (number(n))",
        "CREATE MATERIALIZED VIEW m AS SELECT n FROM a",
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "ALTER TABLE a OWNER TO accountant",
    )
    origin.run(
        "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'plain words'", f"ALTER DATABASE {target.name} OWNER TO plain"
    )
    try:
        repository.environment(text=repository.section("shop", origin))
        repository.backup()
        url = target.url.replace("postgres@", "plain:plain%20words@")
        target.run("ALTER DEFAULT PRIVILEGES FOR ROLE plain GRANT SELECT ON TABLES TO clerk")
        restored = repository.crew("backups", "restore", "staging", "shop", "--into", url)
        assert restored.code == 0, restored
        assert "plain is not a superuser" in restored.out
        assert target.ask(f"SELECT {reads}") == [(True,)]
        assert target.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'a'") == [("plain",)]
        replaced = repository.crew("backups", "restore", "staging", "shop", "--into", url, "--replace")
        assert replaced.code == 0, replaced
        assert "also those that row security hides from the view's owner: public.m of plain; REFRESH" in replaced.out
        assert target.ask("SELECT n FROM a NATURAL JOIN m") == [(1,)]
        assert target.ask("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = 'a'") == [
            (True,)
        ]
    finally:
        for name in databases_like(target.server, f"{target.name}_"):
            target.run(f"DROP DATABASE {name}")
        target.run("DROP OWNED BY plain CASCADE", f"ALTER DATABASE {target.name} OWNER TO postgres", "DROP ROLE plain")
        origin.run("DROP OWNED BY accountant CASCADE", "DROP ROLE accountant", "DROP ROLE clerk")


def test_a_stopped_restore_drops_its_copy(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 40000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_ended")
    password = f"file:{repository.password(target)}"
    into = ("--into", target.url, "--create", "--password-from", password)
    running = repository.start("backups", "restore", "staging", "shop", *into)
    until(lambda: databases_like(target.server, target.name))
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=deadline(30))
    assert running.returncode == 1, (out, err)
    assert f"stopped by SIGTERM; database {target.name} was not created\n" in err
    assert databases_like(target.server, target.name) == []


def test_a_killed_restore_leaves_no_file_and_a_copy_that_the_next_restore_drops(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database], tmp_path: Path
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 40000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_killed")
    into = ("--into", target.url, "--create", "--password-from", f"file:{repository.password(target)}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    running = repository.start(
        "backups", "restore", "staging", "shop", *into, env={**os.environ, "TMPDIR": str(scratch)}
    )
    copying = f"SELECT 1 FROM pg_stat_activity WHERE datname LIKE '{target.name}%' AND query LIKE 'COPY%'"
    until(lambda: origin.ask(copying))
    running.kill()
    running.communicate()
    assert list(scratch.iterdir()) == []
    until(lambda: not origin.ask(f"SELECT 1 FROM pg_stat_activity WHERE datname LIKE '{target.name}%'"))
    [left] = databases_like(target.server, target.name)
    long_ago = f"{target.name}_restoring_20260101_000000"  # younger copies are not dropped
    origin.run(f"ALTER DATABASE {left} RENAME TO {long_ago}")

    report = repository.crew("check", "staging").out
    assert f"killed restores left {long_ago} on the server" in report
    assert f'DROP DATABASE "{long_ago}"' in report
    code, output = restore(repository, target, "--create")
    assert code == 0, output
    assert compare(origin, target) == []
    assert databases_like(target.server, target.name) == [target.name]
    assert "killed restores" not in repository.crew("check", "staging").out


def test_restores_a_database_without_tables(repository: Repository, database: New) -> None:
    origin, target = database(16), database(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    code, output = restore(repository, target)
    assert code == 0, output
    assert compare(origin, target) == []
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified


def test_memory_stays_low_with_values_of_200_megabytes(repository: Repository, database: New) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE long AS SELECT repeat('text 1 ', 28600000) body")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    password = f"file:{repository.password(target)}"
    running = repository.start(
        "backups", "restore", "staging", "shop", "--into", target.url, "--password-from", password
    )
    peaks = Peaks(running.pid)
    assert running.wait(deadline(60)) == 0
    peaks.stop()
    assert target.ask("SELECT sum(length(body)) FROM long") == [(200_200_000,)]
    assert peaks.first < 150 << 20


@majors(14)
def test_restores_and_verifies_an_extension_with_its_own_rows(
    major: int, repository: Repository, database: New
) -> None:
    rates = (
        "CREATE TABLE crew_rates (a int, b text); INSERT INTO crew_rates VALUES (1, 'shipped');"
        "SELECT pg_catalog.pg_extension_config_dump('crew_rates', 'WHERE a > 1');"
    )
    with extension(major, "crewshop", rates):
        origin, target = database(major), database(major)
        origin.run("CREATE EXTENSION crewshop", "INSERT INTO crew_rates VALUES (2, 'ours')")
        repository.environment(text=repository.section("shop", origin))
        repository.backup()
        code, output = restore(repository, target)
        assert code == 0, output
        assert target.ask("SELECT b FROM crew_rates ORDER BY a") == [("shipped",), ("ours",)]
        verified = repository.crew("run", "verify", "staging")
        assert verified.code == 0, verified


@majors(14)
def test_sequences_of_extensions_are_not_compared(
    major: int, repository: Repository, database: New, dropped: Callable[[int, str], Database]
) -> None:
    with extension(major, "crewnumbers", "CREATE SEQUENCE crew_numbers; CREATE TABLE crew_names (id serial);"):
        origin = database(major)
        origin.run("CREATE EXTENSION crewnumbers", "SELECT nextval('crew_numbers'), nextval('crew_names_id_seq')")
        repository.environment(text=repository.section("shop", origin))
        taken = repository.backup()
        shown = repository.crew("backups", "show", "staging", "shop", "--set", taken, "--json").json
        assert shown["description"]["sequences"] == []
        code, output = restore(repository, dropped(major, f"{origin.name}_numbers"), "--create")
        assert code == 0, output
        assert "sequence" not in output
        verified = repository.crew("run", "verify", "staging")
        assert verified.code == 0, verified
