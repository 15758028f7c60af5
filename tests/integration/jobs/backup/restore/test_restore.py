"""Round trips through the command line, on real servers; and what a restore does when something is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from jobs.run.context import RunContext
from tests.bench.measure import Peaks
from tests.parts import terminal
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors, needs
from tests.parts.postgres import Database, Server, extension
from tests.parts.runs import until
from tests.parts.same import differences, portrait

Shop = Callable[..., Database]
New = Callable[..., Database]


def restore(repository: Repository, into: Database, *options: str, name: str = "shop") -> tuple[int, str]:
    password = f"file:{repository.password(into)}"
    said = repository.crew(
        "backups", "restore", "staging", name, "--into", into.url, "--password-from", password, *options
    )
    return said.code, said.out + said.err


def same(one: Database, other: Database, *, ignore: set[str] | None = None) -> list[str]:
    def asked(database: Database) -> object:
        return portrait(database.url, password=database.password)

    return differences(asked(one), asked(other), ignore=ignore or set())  # type: ignore[arg-type]


def databases_like(server: Server, name: str) -> list[str]:
    with server.connect() as there:
        found = there.execute("SELECT datname FROM pg_database WHERE datname LIKE %s ORDER BY 1", [f"{name}%"])
        return [row[0] for row in found]


@pytest.fixture
def dropped(postgres: Callable[[int], Server]) -> Iterator[Callable[[int, str], Database]]:
    """A name for a database that a restore will make; it and what was kept of it is dropped afterwards."""
    made: list[Database] = []

    def new(major: int, name: str) -> Database:
        made.append(Database(postgres(major), name))
        return made[-1]

    yield new
    for one in made:
        with one.server.connect() as there:
            for name in databases_like(one.server, one.name):
                there.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@majors(13, 14, 15, 16, 18)
def test_a_round_trip_loses_nothing(
    major: int, repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(major, extensions=True)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    again = dropped(major, f"{origin.name}_again")
    code, said = restore(repository, again, "--create")
    assert code == 0, said
    assert same(origin, again) == []


def test_a_set_of_an_old_server_is_restored_on_a_new_one(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(15)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    again = dropped(18, f"{origin.name}_again")
    with again.server.connect() as there:
        there.execute('DROP ROLE IF EXISTS "shop owner", shop_reader')
    code, said = restore(repository, again, "--create")
    assert (code, "Made the roles that were missing: shop owner, shop_reader." in said) == (0, True)
    assert again.ask("SELECT count(*) FROM pg_roles WHERE rolname IN ('shop owner', 'shop_reader')") == [(2,)]
    assert same(origin, again, ignore={"views", "privileges"}) == []

    again.run("ALTER ROLE shop_reader CONNECTION LIMIT 3")
    code, said = restore(repository, again, "--replace")
    assert (code, "Made the" in said) == (0, False)
    assert again.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'shop_reader'") == [(3,)]
    again.run("ALTER ROLE shop_reader CONNECTION LIMIT -1")


def test_an_empty_database_is_filled_and_one_that_is_not_is_refused(
    repository: Repository, shop: Shop, database: New
) -> None:
    origin, target = shop(16), database(16)
    repository.environment(text=repository.section("shop", origin), encrypt=False)
    repository.backup()
    assert restore(repository, target)[0] == 0
    assert same(origin, target) == []
    code, said = restore(repository, target)
    assert code == 1
    assert "is not empty" in said
    assert "--replace" in said
    code, said = restore(repository, target, "--create")
    assert code == 1
    assert "exists already" in said


def test_the_state_of_a_moment_in_as_many_streams_as_asked_for_with_fresh_statistics(
    repository: Repository, database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT n FROM generate_series(1, 1000) n", "CREATE INDEX ON a (n)")
    repository.environment(text=repository.section("shop", origin))
    first = repository.backup()
    origin.run("DELETE FROM a")
    time.sleep(1)  # sets are told apart by the second
    repository.backup()
    started: list[list[str]] = []
    real = RunContext.process
    monkeypatch.setattr(
        RunContext, "process", lambda run, argv, **popen: (started.append(list(argv)), real(run, argv, **popen))[1]
    )
    begun = datetime.strptime(first.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    code, said = restore(repository, target, "--before", begun.isoformat(), "--parallel", "3")
    assert (code, f"(set {first}, " in said) == (0, True), said
    assert target.ask("SELECT count(*) FROM a") == [(1000,)]
    assert target.ask("SELECT reltuples FROM pg_class WHERE relname = 'a'") == [(1000.0,)]
    assert target.ask("SELECT n_distinct FROM pg_stats WHERE tablename = 'a'") == [(-1.0,)]
    assert [one for one in started if "--section=post-data" in one and "--jobs=3" in one]


def test_a_database_that_is_in_use_is_replaced_and_the_old_one_kept(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_used")
    assert restore(repository, target, "--create")[0] == 0
    target.run("DROP TABLE staff", "REVOKE CONNECT ON DATABASE " + target.name + " FROM PUBLIC")
    with in_use(target) as ended:
        code, said = restore(repository, target, "--replace")
    assert code == 0, said
    assert ended, "who was connected was told to come back"
    assert same(origin, target) == []
    [now, kept] = databases_like(target.server, target.name)
    assert (now, kept in said) == (target.name, True)
    assert Database(target.server, kept).ask("SELECT to_regclass('staff')") == [(None,)]
    assert target.ask("SELECT has_database_privilege('shop_reader', current_database(), 'CONNECT')") == [(False,)]


@contextmanager
def in_use(database: Database) -> Iterator[list[str]]:
    """Somebody who asks, again and again, and comes back whenever the connection is ended."""
    done, ended = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            try:
                with database.connect() as there:
                    while not done.is_set():
                        there.execute("SELECT count(*) FROM customers")
            except psycopg.Error as error:
                ended.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield ended
    finally:
        done.set()
        asking.join()


def test_a_flipped_byte_is_named_and_the_old_database_stays(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    target = dropped(16, f"{origin.name}_flipped")
    assert restore(repository, target, "--create")[0] == 0
    for piece in repository.pieces(taken):
        whole = piece.read_bytes()
        flip(piece)
        code, said = restore(repository, target, "--replace")
        assert code == 1
        assert f"part {piece.stem} of set {taken} of staging/shop is damaged" in said
        assert (f"{target.name} is as it was" in said) == (piece.stem != "roles"), "with them nothing has begun"
        assert databases_like(target.server, target.name) == [target.name]
        piece.write_bytes(whole)
    assert same(origin, target) == []


def test_a_flipped_byte_is_named_where_nothing_is_encrypted(repository: Repository, shop: Shop, database: New) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin), encrypt=False)
    taken = repository.backup()
    rest = next(piece for piece in repository.pieces(taken) if piece.stem == "rest")
    for damage in (flip, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.unlink()):
        damage(rest)
        target = database(16)
        code, said = restore(repository, target)
        assert code == 1
        assert f"part rest of set {taken} of staging/shop is damaged" in said
        assert f"{target.name} holds a part of the set now" in said


def test_a_restore_that_fails_in_the_middle_leaves_nothing_under_the_name(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database]
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_failing")
    done = threading.Event()

    def end_copies() -> None:
        with origin.server.connect() as there:
            while not done.is_set():
                there.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname LIKE %s AND query LIKE 'COPY%%'",
                    [f"{target.name}_restoring%"],
                )

    ending = threading.Thread(target=end_copies)
    ending.start()
    try:
        code, said = restore(repository, target, "--create")
    finally:
        done.set()
        ending.join()
    assert code == 1, said
    assert "pg_restore of part" in said
    assert databases_like(target.server, target.name) == []


@needs("root")
def test_a_servers_disk_that_fills_up_is_told(
    repository: Repository, shop: Shop, dropped: Callable[[int, str], Database], tmp_path: Path
) -> None:
    origin = shop(16)
    origin.run("CREATE TABLE big AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = dropped(16, f"{origin.name}_full")
    with small_disk(origin.server, tmp_path / "disk"):
        origin.run(f"CREATE DATABASE {target.name} TEMPLATE template0 TABLESPACE small")
        code, said = restore(repository, target)
        origin.run(f"DROP DATABASE {target.name}")
    assert code == 1
    assert "pg_restore of part data-1 into" in said
    assert "No space left on device" in said
    assert "holds a part of the set now: empty it before the next try" in said


@contextmanager
def small_disk(server: Server, folder: Path) -> Iterator[None]:
    """A tablespace `small` on a disk of 16 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", folder], check=True)
    try:
        owner = server.running.data.stat()
        (folder / "small").mkdir()
        os.chown(folder / "small", owner.st_uid, owner.st_gid)
        with server.connect() as there:
            there.execute(f"CREATE TABLESPACE small LOCATION '{folder}/small'")
            yield
            there.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", folder], check=True)


def test_what_a_protected_environment_looks_after_wants_a_yes(
    repository: Repository, shop: Shop, database: New
) -> None:
    origin = shop(16)
    repository.environment("production", repository.section("shop", origin), protected=True)
    repository.environment(text=repository.section("shop", origin))
    repository.backup("shop", "production")
    repository.backup()
    by_socket = origin.server.socket_url(origin.name)
    said = repository.crew(
        "backups", "restore", "staging", "shop", "--replace", "--dry-run", "--into", by_socket, "--password-from",
        f"file:{repository.password(origin)}",
    )  # fmt: skip
    assert said.code == 64
    assert "--yes-to production" in said.err
    code, told = restore(repository, origin, "--replace", "--dry-run", "--yes-to", "production")
    assert (code, "Would restore" in told) == (0, True)
    line = [sys.executable, "-m", "jobs.cli", "--root", str(repository.root), "backups", "restore", "staging", "shop"]
    asking = [*line, "--replace", "--into", origin.url, "--password-from", f"file:{repository.password(origin)}"]
    for answer, why in (("staging", "nothing was restored; the answer was not production"), ("", "stopped by SIGINT")):
        code, told = terminal.answered(asking, os.environ, "type its name: ", answer)
        assert (code, why in told) == (1, True), told
    asking = [*line, "--replace", "--dry-run", "--yes-to", "production", "--into", origin.url]
    for answer, code, said_then in ((origin.password, 0, "Would restore"), ("", 1, "stopped by SIGINT")):
        ended = terminal.answered(asking, os.environ, "Password for postgres: ", answer)
        assert (ended[0], said_then in ended[1], origin.password in ended[1]) == (code, True, False), ended
    code, told = restore(repository, database(16), "--dry-run")
    assert code == 0, told


def test_a_password_in_the_address_shows_nowhere(repository: Repository, shop: Shop, database: New) -> None:
    origin, target = shop(16), database(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    secret = "hunter2%20of%20wrong"
    said = repository.crew(
        "backups", "restore", "staging", "shop", "--into", target.url.replace("postgres@", f"postgres:{secret}@")
    )
    assert said.code == 1
    assert "password authentication failed" in said.err
    assert "hunter2" not in said.out + said.err


def test_a_role_that_is_no_superuser_gets_all_for_itself(repository: Repository, shop: Shop, database: New) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE a AS SELECT 1 AS n", "CREATE ROLE somebody")
    origin.run("ALTER TABLE a OWNER TO somebody")
    origin.run(
        "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'plain words'", f"ALTER DATABASE {target.name} OWNER TO plain"
    )
    try:
        repository.environment(text=repository.section("shop", origin))
        repository.backup()
        url = target.url.replace("postgres@", "plain:plain%20words@")
        said = repository.crew("backups", "restore", "staging", "shop", "--into", url)
        assert said.code == 0, said
        assert "plain is no superuser" in said.out
        assert target.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'a'") == [("plain",)]
        said = repository.crew("backups", "restore", "staging", "shop", "--into", url, "--replace")
        assert said.code == 0, said
        assert target.ask("SELECT n FROM a") == [(1,)]
    finally:
        for name in databases_like(target.server, f"{target.name}_"):
            target.run(f"DROP DATABASE {name}")
        target.run("DROP OWNED BY plain CASCADE", f"ALTER DATABASE {target.name} OWNER TO postgres", "DROP ROLE plain")
        origin.run("DROP OWNED BY somebody", "DROP ROLE somebody")


def test_told_to_end_in_the_middle_it_takes_back_what_it_made(
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
    out, err = running.communicate(timeout=30)
    assert running.returncode == 1, (out, err)
    assert f"stopped by SIGTERM; no database {target.name} was made\n" in err
    assert databases_like(target.server, target.name) == []


def test_killed_outright_it_leaves_no_file_and_a_copy_that_is_told_and_swept_by_the_next(
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
    long_ago = f"{target.name}_restoring_20260101_000000"  # one of the last minute may be about to be filled
    origin.run(f"ALTER DATABASE {left} RENAME TO {long_ago}")

    told = repository.crew("check", "staging").out
    assert f"restores that were killed have left {long_ago} there" in told
    assert f'DROP DATABASE "{long_ago}"' in told
    assert restore(repository, target, "--create")[0] == 0
    assert same(origin, target) == []
    assert databases_like(target.server, target.name) == [target.name]
    assert "have left" not in repository.crew("check", "staging").out


def test_a_database_without_tables_comes_back_too(repository: Repository, database: New) -> None:
    origin, target = database(16), database(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    assert restore(repository, target)[0] == 0
    assert same(origin, target) == []
    assert repository.crew("run", "verify", "staging").code == 0


def test_values_of_two_hundred_megabytes_do_not_fill_the_memory(repository: Repository, database: New) -> None:
    origin, target = database(16), database(16)
    origin.run("CREATE TABLE long AS SELECT repeat('text 1 ', 28600000) body")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    password = f"file:{repository.password(target)}"
    running = repository.start(
        "backups", "restore", "staging", "shop", "--into", target.url, "--password-from", password
    )
    peaks = Peaks(running.pid)
    assert running.wait(60) == 0
    peaks.stop()
    assert target.ask("SELECT sum(length(body)) FROM long") == [(200_200_000,)]
    assert peaks.first < 150 << 20


@majors(14)
def test_an_extension_with_rows_of_its_own_comes_back_and_is_verified(
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
        assert restore(repository, target)[0] == 0
        assert target.ask("SELECT b FROM crew_rates ORDER BY a") == [("shipped",), ("ours",)]
        verified = repository.crew("run", "verify", "staging")
        assert verified.code == 0, verified
