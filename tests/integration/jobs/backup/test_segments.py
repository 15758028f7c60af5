"""Big tables are stored as segments, which hold each row exactly once and restore without a loss."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore import fill, index_builds
from jobs.backup.restore.compare import Contents, QualifiedName
from jobs.backup.restore.count import count_contents
from jobs.backup.restore.task import RestoreTask
from jobs.backup.take import facts, snapshot
from jobs.backup.take.parts import PlannedRows, Table, copy_out_statement, divide_rows
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors
from tests.parts.patience import until
from tests.parts.portrait import differences, portrait
from tests.parts.postgres import CLIENTS, PASSWORD, Database
from tests.parts.rewriting import rewrite_description, rewrite_manifest, rewrite_part

New = Callable[..., Database]
SMALL = 20_000

# Tables that are big enough for segments of SMALL bytes. Each has something that COPY or ctid can lose.
KINDS = """
CREATE TABLE "od""d. \\! id" ("a ""b" int GENERATED ALWAYS AS IDENTITY, "new
line" text, "ü" float8, gone int, twice int GENERATED ALWAYS AS (1 + 1) STORED, body bytea, moment timestamptz, x xml);
INSERT INTO "od""d. \\! id" ("new
line", "ü", body, moment) SELECT CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN E'\\\\.' WHEN 2 THEN E'\\n\\\\.\\n\\\\! id'
  WHEN 3 THEN E'\\t\\r\\b\\\\' WHEN 4 THEN '' WHEN 5 THEN '\\N' ELSE repeat('ß', 300) END,
  CASE n % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN 0.1 + n * 1e-17 ELSE -n / 3.0 END, decode(md5(n::text), 'hex'),
  timestamptz '1999-12-31 23:59:59.123456+05:45' + n * interval '1 day 1 hour'
  FROM generate_series(1, 900) n;
ALTER TABLE "od""d. \\! id" DROP COLUMN gone;
DO $$ BEGIN UPDATE "od""d. \\! id" SET x = '<a/>text' WHERE twice = 2;
EXCEPTION WHEN feature_not_supported THEN NULL; END $$;
CREATE TABLE parent (id int, body text DEFAULT repeat('x', 400));
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT n FROM generate_series(1, 900) n;
INSERT INTO child SELECT n FROM generate_series(1, 700) n;
CREATE TABLE parted (id int, body text DEFAULT repeat('y', 400)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
CREATE TABLE parted_2 (body text DEFAULT repeat('z', 400), id int);
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (500) TO (2000);
INSERT INTO parted SELECT n FROM generate_series(1, 1500) n;
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 3000);
CREATE TABLE secured (id int, body text DEFAULT repeat('s', 400));
INSERT INTO secured SELECT n FROM generate_series(1, 400) n;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON secured USING (id < 3);
CREATE UNLOGGED TABLE scratch AS SELECT n AS id, repeat('u', 400) AS body FROM generate_series(1, 300) n;
CREATE TABLE toasted AS SELECT n AS id, repeat(md5(n::text), 2000) AS body FROM generate_series(1, 6) n;
ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL;
UPDATE toasted SET body = body || 'x';
CREATE TABLE updated AS SELECT n AS id, repeat('h', 100) AS body FROM generate_series(1, 2000) n;
UPDATE updated SET body = repeat('i', 100) WHERE id % 3 = 0;
DELETE FROM updated WHERE id BETWEEN 200 AND 900;
ALTER TABLE updated ADD PRIMARY KEY (id);
CREATE TYPE mood AS ENUM ('calm');
ALTER TABLE child ADD mood mood DEFAULT 'calm';
CREATE INDEX ON child (mood, id);
CREATE FUNCTION number_of_toasted() RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT count(*) FROM public.toasted';
CREATE INDEX ON child ((number_of_toasted() + id));
CREATE INDEX ON parted (id);
ALTER TABLE parent ADD UNIQUE (id);
CREATE TABLE pointing (id int REFERENCES parent (id));
INSERT INTO pointing VALUES (7);
"""


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.backup.take.parts.MIN_TABLE_BYTES", SMALL)
    monkeypatch.setattr("jobs.backup.take.parts.MIN_SEGMENT_BYTES", SMALL)


def copied(connection: psycopg.Connection[Any], statement: str) -> list[bytes]:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as rows:
        return sorted(b"".join(bytes(block) for block in rows).splitlines(keepends=True))


@majors(13, 14, 15, 16, 17, 18)
def test_every_kind_of_table_survives_a_round_trip(repository: Repository, database: New, major: int) -> None:
    origin, target = database(major), database(major)
    origin.run(f"ALTER DATABASE {origin.name} OWNER TO postgres", "ALTER SCHEMA public OWNER TO postgres", KINDS)
    repository.environment(text=repository.section("shop", origin, "parallel = 18\ncompression = 3"))
    taken = repository.backup()
    shown = repository.crew("backups", "show", "staging", "shop", "--json").json
    segments = shown["description"]["segments"]
    tables = {(segment["schema"], segment["table"]) for segment in segments.values()}
    assert {name for _, name in tables} >= {'od"d. \\! id', "parent", "child", "parted_1", "parted_2", "updated"}
    assert "no_columns" not in {name for _, name in tables}
    assert (len(segments) > len(tables)) == (major > 13)
    assert {part["kind"] for part in shown["manifest"]["parts"]} >= {"segment"}
    assert "table" not in {part["kind"] for part in shown["manifest"]["parts"]}
    into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
    restored = repository.crew("backups", "restore", "staging", "shop", "--set", taken, *into)
    assert restored.code == 0, restored.err.splitlines()[-1]
    assert differences(*(portrait(one.url, password=one.password) for one in (origin, target))) == []
    for (name,) in origin.ask("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384"):
        with origin.connect() as one, target.connect() as other:
            statement = f"COPY {name} TO STDOUT"
            assert copied(one, statement) == copied(other, statement), name
    if major in (13, 18):
        verified = repository.crew("backups", "verify", "staging", "shop")
        assert verified.code == 0, verified


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "WIN1252"])
def test_bytes_that_are_not_utf_8_survive(repository: Repository, database: New, encoding: str) -> None:
    """No table can be counted as UTF-8, neither the one in segments nor the small one."""
    server = database(16).server
    origin, target = Database(server, f"origin_{encoding.lower()}"), Database(server, f"target_{encoding.lower()}")
    with server.connect() as connection:
        for each in (origin, target):
            connection.execute(
                f"CREATE DATABASE {each.name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'".encode()
            )
    try:
        origin.run(
            f"SET client_encoding = {encoding}",
            "CREATE TABLE a AS SELECT n AS id, E'\\x81' || repeat('x', 300) AS body FROM generate_series(1, 400) n",
            "CREATE TABLE small (body text); INSERT INTO small VALUES (E'\\x81')",
        )
        repository.environment(text=repository.section("shop", origin, "parallel = 2"))
        repository.backup()
        into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
        restored = repository.crew("backups", "restore", "staging", "shop", *into)
        assert restored.code == 0, restored
        beside = ("--tables", "small", "--as-table", "again")
        restored = repository.crew("backups", "restore", "staging", "shop", *into, *beside)
        assert restored.code == 0, restored
        assert target.ask("SELECT body::bytea FROM again") == [(b"\x81",)]
        binary = "COPY (SELECT id, encode(body::bytea, 'hex') FROM a) TO STDOUT"
        with origin.connect() as one, target.connect() as other:
            assert copied(one, binary) == copied(other, binary)
    finally:
        with server.connect() as connection:
            for each in (origin, target):
                connection.execute(f"DROP DATABASE {each.name} WITH (FORCE)".encode())


@pytest.fixture
def taken(repository: Repository, database: New) -> tuple[Database, Path]:
    """A database with a table of 900 rows, and the folder of a set with two segments of it."""
    origin = database(18)
    origin.run(
        f"ALTER DATABASE {origin.name} OWNER TO postgres", "ALTER SCHEMA public OWNER TO postgres",
        "CREATE TABLE big AS SELECT n AS id, repeat('x', 300) AS body FROM generate_series(1, 900) n",
        "ALTER TABLE big ADD PRIMARY KEY (id)",
        "CREATE TABLE small AS SELECT 1 AS id",
    )  # fmt: skip
    repository.environment(text=repository.section("shop", origin, "parallel = 2"))
    folder = repository.folder(repository.backup())
    assert (folder / "rows-1-2.0").exists()
    assert not (folder / "rows-1-3.0").exists()
    return origin, folder


PLANTED = [
    (lambda script: script.replace(b"\n2\t", b"\n\\.\n\\! touch {proof}\n2\t"), "its rows end before the part does"),
    (lambda script: b"\\! touch {proof}\n" + script, "does not begin with the statements that a backup writes"),
    (lambda script: script + b"\\! touch {proof}\n", "its rows end before the part does"),
    (lambda script: script.removesuffix(b"\\.\n"), "its rows are cut off"),
    (lambda script: script.replace(b"\\.\n", script.splitlines(keepends=True)[-2] + b"\\.\n"), "rows of table"),
    (lambda script: b"".join(script.splitlines(keepends=True)[:-2]) + b"\\.\n", "rows of table"),
]


@pytest.mark.parametrize(("change", "fault"), PLANTED)
def test_a_restore_executes_nothing_of_a_stored_script(
    repository: Repository, taken: tuple[Database, Path], database: New, change: Callable[[bytes], bytes], fault: str
) -> None:
    """Somebody with the signing key has changed the part."""
    target, proof = database(18), repository.root / "proof"
    rewrite_part(taken[1], repository.identity, "rows-1-1",
                 lambda script: change(script).replace(b"{proof}", str(proof).encode()))  # fmt: skip
    into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
    restored = repository.crew("backups", "restore", "staging", "shop", *into)
    assert restored.code == 1, restored
    assert fault in restored.err
    assert not proof.exists()


def test_a_set_from_before_segments_is_restored_and_verified(
    repository: Repository, taken: tuple[Database, Path], database: New
) -> None:
    origin, folder = taken
    archive = subprocess.run(
        [CLIENTS[18] / "pg_dump", "-Fc", "-Z0", "--section=data", "--table=big", origin.url],
        env=origin.server.environment, capture_output=True, check=True,
    ).stdout  # fmt: skip

    def as_before(manifest: dict[str, Any]) -> None:
        parts = [part for part in manifest["parts"] if part["name"] != "rows-1-2"]
        [table] = [part for part in parts if part["name"] == "rows-1-1"]
        table.update(name="data-1", kind="table", dumped=len(archive))
        table["pieces"][0]["key"] = "data-1.0"
        manifest.update(format=2, parts=parts)

    (folder / "rows-1-1.0").rename(folder / "data-1.0")
    rewrite_manifest(folder, as_before)
    rewrite_part(folder, repository.identity, "data-1", lambda _: archive)
    rewrite_description(folder, repository.identity, lambda described: described.pop("segments"))
    rewrite_description(
        folder, repository.identity, lambda each: each.update(format=1, table_parts={"data-1": '"public"."big"'})
    )
    for options in ((), ("--tables", "big")):
        target = database(18)
        into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
        restored = repository.crew("backups", "restore", "staging", "shop", *into, *options)
        assert restored.code == 0, restored
        assert target.ask("SELECT count(*) FROM big") == [(900,)]
    verified = repository.crew("backups", "verify", "staging", "shop")
    assert verified.code == 0, verified


def test_single_tables_are_restored_from_segments(
    repository: Repository, taken: tuple[Database, Path], database: New
) -> None:
    target = database(18)
    target.run("CREATE TABLE big (id int)")
    into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
    beside = repository.crew(
        "backups", "restore", "staging", "shop", *into, "--tables", "big", "--as-table", "big_again"
    )
    assert beside.code == 0, beside
    target.run("DROP TABLE big")
    restored = repository.crew("backups", "restore", "staging", "shop", *into, "--tables", "big")
    assert restored.code == 0, restored
    assert target.ask("SELECT count(DISTINCT id) FROM big NATURAL JOIN big_again") == [(900,)]
    assert target.ask("SELECT to_regclass('small')") == [(None,)]


def test_a_restore_builds_indexes_beside_rows_and_counts_segments_once(
    repository: Repository, taken: tuple[Database, Path], database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, early = database(18), list[str]()
    restore_constraints = fill.restore_constraints

    def look_first(task: RestoreTask, *others: Any) -> None:
        with task.into.connect() as connection:
            found = connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^(big|small)_' ORDER BY 1")
            early.extend(name for (name,) in found.fetchall())
        restore_constraints(task, *others)

    def count_the_others(task: RestoreTask, *others: Any, known: Mapping[QualifiedName, int]) -> Contents:
        early.extend(f"{name}: {rows} rows" for (_, name), rows in known.items())
        return count_contents(task, *others, known=known)

    monkeypatch.setattr(fill, "restore_constraints", look_first)
    monkeypatch.setattr(index_builds, "_MIN_BYTES", 0)
    monkeypatch.setattr("jobs.backup.restore.restore.count_contents", count_the_others)
    taken[0].run("ALTER TABLE small ADD PRIMARY KEY (id)")
    repository.backup()
    into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
    restored = repository.crew("backups", "restore", "staging", "shop", *into)
    assert restored.code == 0, restored
    assert early == ["big_pkey", "small_pkey", "big: 900 rows"]
    assert target.ask("SELECT count(*) FROM pg_class WHERE relname IN ('big_pkey', 'small_pkey')") == [(2,)]


def test_a_verification_writes_no_log_and_counts_segments_once(
    repository: Repository, taken: tuple[Database, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}

    def count_and_look(task: RestoreTask, *, known: Mapping[QualifiedName, int]) -> Contents:
        with task.into.connect() as connection:
            tables = connection.execute(
                "SELECT relname, relpersistence FROM pg_class WHERE relname IN ('big', 'small')"
            )
            seen.update(tables.fetchall(), known=known)
        return count_contents(task, known=known)

    monkeypatch.setattr("jobs.backup.verify.verify.count_contents", count_and_look)
    verified = repository.crew("backups", "verify", "staging", "shop")
    assert verified.code == 0, verified
    assert seen == {"big": "u", "small": "u", "known": {("public", "big"): 900}}
    assert "2 tables, 901 rows" in verified.out
    rewrite_description(taken[1], repository.identity, lambda described: described["tables"][0].update(rows=899))
    differs = repository.crew("backups", "verify", "staging", "shop", "--set", taken[1].name)
    assert differs.code == 2, differs
    assert "table public.big: 899 rows expected, 900 rows found" in differs.out


def test_a_damaged_segment_is_named(repository: Repository, taken: tuple[Database, Path]) -> None:
    flip(taken[1] / "rows-1-2.0")
    verified = repository.crew("backups", "verify", "staging", "shop")
    assert verified.code == 1, verified
    assert "part rows-1-2 of set" in verified.out


def endpoint(database: Database) -> Endpoint:
    return Endpoint({key: str(value) for key, value in conninfo_to_dict(database.url).items()}, PASSWORD)


@contextmanager
def changing(database: Database, seed: int) -> Iterator[None]:
    """Insert, update, delete and vacuum meanwhile."""
    done, chance, made = threading.Event(), random.Random(seed), list[int]()
    changes = (
        "UPDATE t SET body = body || '.' WHERE id % 13 = {}",
        "DELETE FROM t WHERE id % 17 = {}",
        "INSERT INTO t SELECT n, repeat('n', n % 500) FROM generate_series(1, 20 + {}) n",
        "VACUUM t",
    )

    def change() -> None:
        with database.connect() as connection:
            while not done.is_set():
                connection.execute(chance.choice(changes).format(chance.randrange(13)).encode())
                made.append(1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        until(lambda: len(made) > 5)
        yield
        before = len(made)
        until(lambda: len(made) > before)  # the changes went on to the end
    finally:
        done.set()
        thread.join()


@majors(14, 18)
@pytest.mark.parametrize("rows", [0, 1, 3000])
def test_segments_hold_each_row_of_the_snapshot_once(database: New, major: int, rows: int) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    changed = database(major)
    changed.run(
        f"CREATE TABLE t AS SELECT n AS id, repeat('r', n % 300) AS body FROM generate_series(1, {rows}) n",
        "ALTER TABLE t SET (fillfactor = 50, autovacuum_enabled = off)",
        "UPDATE t SET body = body || 'hot' WHERE id % 2 = 0",
    )
    with changing(changed, seed):
        for number in (2, 3, 7):
            with snapshot.export_snapshot(endpoint(changed), timedelta(seconds=5)) as moment:
                [table] = [table for table in moment.tables if table.name == "t"]
                pages = changed.ask("SELECT pg_relation_size('t') / 8192")[0][0]
                known = Table(table.oid, "public", "t", bytes=number * SMALL, columns=("id", "body"), pages=pages)
                with changed.connect() as connection:
                    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                    connection.execute(f"SET TRANSACTION SNAPSHOT '{moment.name}'".encode())
                    segments = divide_rows(known, SMALL)
                    whole = copied(connection, copy_out_statement(PlannedRows(known)))
                    parts = [row for each in segments for row in copied(connection, copy_out_statement(each))]
                assert len(segments) == min(number, max(pages, 1))
                assert sorted(parts) == whole, f"seed {seed}"


HOSTILE = (
    "CREATE FUNCTION public.constant(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
    "CREATE TABLE public.plain AS SELECT n AS id, repeat('x', 300) AS body FROM generate_series(1, 900) n",
    "CREATE TABLE public.indexed AS TABLE public.plain",
    "CREATE TABLE public.described AS TABLE public.plain",
    "CREATE TABLE public.partial AS TABLE public.plain",
    "CREATE INDEX ON public.indexed ((public.constant(1) + id))",
    "CREATE INDEX ON public.partial ((id + 1)) WHERE lower(body) <> 'y'",
    "CREATE STATISTICS public.hostile ON (public.constant(1) + id), id FROM public.described",
)


@majors(14, 18)
def test_only_a_table_whose_owner_gains_nothing_is_read_by_pages(database: New, major: int) -> None:
    """To plan a query on a table, PostgreSQL can call functions of its owner with the rights of the backup role."""
    shop = database(major)
    shop.run(f"ALTER DATABASE {shop.name} OWNER TO postgres", "ALTER SCHEMA public OWNER TO postgres", *HOSTILE)

    def divided() -> set[str]:
        with snapshot.export_snapshot(endpoint(shop), timedelta(seconds=5)) as moment:
            known = facts.with_columns(moment.connection, moment.tables, trust_owners=False)
            assert {table.name for table in known if table.columns} == {"plain", "indexed", "described", "partial"}
            return {table.name for table in known if table.pages and table.trusted}

    assert divided() == {"plain", "partial"}
    shop.run("DROP ROLE IF EXISTS segment_owner", "CREATE ROLE segment_owner")
    try:
        shop.run("ALTER TABLE plain OWNER TO segment_owner")
        assert divided() == {"partial"}
        shop.run("ALTER SCHEMA public OWNER TO segment_owner")
        assert divided() == set()
        shop.run("ALTER SCHEMA public OWNER TO postgres", f"ALTER DATABASE {shop.name} OWNER TO segment_owner")
        assert divided() == set()
        shop.run(f"ALTER DATABASE {shop.name} SET role = segment_owner")
        assert divided() == set()
    finally:
        shop.run(
            "SET ROLE none",
            f"ALTER DATABASE {shop.name} RESET role",
            f"ALTER DATABASE {shop.name} OWNER TO postgres",
            "DROP OWNED BY segment_owner",
            "DROP ROLE segment_owner",
        )


SPYING = (
    "DROP ROLE IF EXISTS spying_owner",
    "CREATE ROLE spying_owner",
    "ALTER DATABASE {name} OWNER TO spying_owner",
    "ALTER SCHEMA public OWNER TO spying_owner",
    "SET ROLE spying_owner",
    "CREATE FUNCTION public.spy(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE LOG 'spy in {name} ran as %', current_user; RETURN $1; END $$",
    "CREATE TABLE public.big AS SELECT n AS id, repeat('x', 300) AS body FROM generate_series(1, 900) n",
    "CREATE INDEX ON public.big ((public.spy(1) + id))",
    "RESET ROLE",
)


def test_only_trust_in_owners_divides_their_tables_and_runs_their_functions(
    repository: Repository, database: New
) -> None:
    shop, target = database(18), database(18)
    spied = f"spy in {shop.name} ran as postgres"
    shop.run(*(statement.format(name=shop.name) for statement in SPYING))
    try:
        repository.environment(text=repository.section("shop", shop, "parallel = 2"))
        planned = repository.crew("run", "backup", "staging", "--dry-run")
        assert 'only one stream each, unless you set trust_owners, for "public"."big"' in planned.out
        folder = repository.folder(repository.backup())
        assert (folder / "rows-1-1.0").exists()
        assert not (folder / "rows-1-2.0").exists()
        assert spied not in shop.server.log
        repository.environment(text=repository.section("shop", shop, "parallel = 2\ntrust_owners = true"))
        assert "trust_owners" not in repository.crew("run", "backup", "staging", "--dry-run").out
        folder = repository.folder(repository.backup())
        assert (folder / "rows-1-2.0").exists()
        assert spied in shop.server.log
        into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
        restored = repository.crew("backups", "restore", "staging", "shop", *into)
        assert restored.code == 0, restored
        assert target.ask("SELECT count(*), count(DISTINCT id) FROM big") == [(900, 900)]
    finally:
        shop.run(f"ALTER DATABASE {shop.name} OWNER TO postgres", "DROP OWNED BY spying_owner CASCADE")
