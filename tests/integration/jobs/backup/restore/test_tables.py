"""Restore single tables of a set, into a new database or into the one that lost them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.backup.restore import pg_restore
from tests.integration.jobs.backup.restore.test_restore import restore
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors
from tests.parts.postgres import Database

Shop = Callable[..., Database]
New = Callable[..., Database]


# The index can be built only once the owner of the table may use the schema of the extension.
_INDEX_OF_AN_OWNER = (
    "CREATE SCHEMA extensions",
    "CREATE EXTENSION vector SCHEMA extensions",
    "CREATE FUNCTION key_of(text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    "'BEGIN RETURN extensions.vector_dims(''[1,2]''::extensions.vector) + pg_catalog.length($1); END'",
    "GRANT USAGE ON SCHEMA extensions TO shop_reader",
    "CREATE INDEX orders_key ON orders (key_of(items ->> 'n'))",
    "ALTER TABLE orders OWNER TO shop_reader",
)


def tables(database: Database) -> list[str]:
    found = database.ask(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text"
        " IN ('public', 'stock', '\"Büro\"') ORDER BY relname COLLATE \"C\""
    )
    return [name for (name,) in found]


@majors(13, 16, 18)
def test_restores_a_lost_table_into_its_database(major: int, repository: Repository, shop: Shop) -> None:
    origin = shop(major)
    origin.run("GRANT SELECT ON orders TO shop_reader")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    rows_before = origin.ask("SELECT count(*), md5(string_agg(o::text, '' ORDER BY id)) FROM orders o")
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'orders' ORDER BY 1"
    indexes_before = origin.ask(indexes)
    code, output = restore(repository, origin, "--tables", "orders")
    assert code == 1, output
    assert "table public.orders already exists in" in output
    origin.run("DROP TABLE orders CASCADE", "ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC, shop_reader")
    code, output = restore(repository, origin, "--tables", "orders")
    assert code == 0, output
    assert (
        "not restored, because they need more than the selected tables: foreign key orders orders_customer_fkey"
        in output
    )
    assert origin.ask("SELECT count(*), md5(string_agg(o::text, '' ORDER BY id)) FROM orders o") == rows_before
    assert origin.ask(indexes) == indexes_before
    assert origin.ask("SELECT nextval('orders_id_seq')") == [(4001,)]
    assert origin.ask("SELECT polname FROM pg_policy WHERE polrelid = 'orders'::regclass") == [("readers_see_half",)]
    granted = "SELECT grantee, privilege_type FROM information_schema.table_privileges WHERE table_name = 'orders'"
    privileges = set(origin.ask(granted))
    assert privileges >= {("shop_reader", "SELECT"), ("shop_reader", "INSERT"), ("PUBLIC", "INSERT")}
    assert origin.ask("SELECT count(*) FROM customers") == [(500,)]


def test_restores_tables_with_their_dependencies_into_an_empty_database(
    repository: Repository, shop: Shop, database: New
) -> None:
    origin, target = shop(16), database(16)
    origin.run(*_INDEX_OF_AN_OWNER)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    code, output = restore(
        repository, target, "--tables", "customers", "--tables", "orders", "--tables", 'Büro.Zettel "A". 1',
        "--tables", "events_2026", "--tables", "stock.places",
    )  # fmt: skip
    assert code == 0, output
    assert tables(target) == [
        'Zettel "A". 1', "customers", "events", "events_2026", "events_2026_a", "events_2026_other", "orders", "places",
    ]  # fmt: skip
    assert target.ask("SELECT count(*) FROM orders JOIN customers c ON c.id = customer") == [(4000,)]
    assert target.ask("SELECT count(*) FROM pg_constraint WHERE conname = 'orders_customer_fkey'") == [(1,)]
    assert target.ask("SELECT count(*) FROM events") == origin.ask("SELECT count(*) FROM events_2026")
    assert target.ask("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == [("touching",)]
    assert "publication membership some_of_it orders" in output


def test_reports_what_cannot_be_done_with_tables(repository: Repository, shop: Shop, database: New) -> None:
    origin, target = shop(16), database(16)
    origin.run("GRANT SELECT ON staff TO shop_reader")
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    for more in ((), ("--dry-run",)):
        code, output = restore(repository, target, "--tables", "odrers", *more)
        assert code == 1, output
        assert "table odrers is not in this set" in output
        assert "holds a part" not in output
        code, output = restore(repository, origin, "--tables", "orders", *more)
        assert code == 1, output
        assert f"table public.orders already exists in {origin.name}" in output
    code, output = restore(repository, target, "--tables", "orders", "--dry-run")
    assert code == 0, output
    assert "Tables: public.orders." in output
    assert tables(target) == []
    code, output = restore(repository, target, "--tables", "orders", "--replace")
    assert code == 1, output
    assert "--replace does not work with --tables" in output
    flip(next(piece for piece in repository.pieces(taken) if piece.stem == "rest"))
    code, output = restore(repository, database(16), "--tables", "staff")
    assert code == 1, output
    assert "part rest of set" in output
    assert "now holds a part of the set: only superusers can connect to it; drop and create the database" in output
    origin.run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO shop_reader", "DROP TABLE staff CASCADE")
    code, output = restore(repository, origin, "--tables", "staff")
    assert code == 1, output
    assert "now holds a part of the set: drop these tables before you try again" in output
    reads = origin.ask("SELECT has_table_privilege('shop_reader', 'staff', 'SELECT')")
    assert reads == [(False,)], "the table has no row security yet"


@majors(13, 18)
def test_restores_rows_beside_the_live_table(major: int, repository: Repository, shop: Shop) -> None:
    origin = shop(major)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    fingerprint = "SELECT count(*), md5(string_agg(o::text, '' ORDER BY id)) FROM {} o"
    before = origin.ask(fingerprint.format("orders"))
    origin.run("DELETE FROM orders WHERE id % 2 = 0")
    code, output = restore(repository, origin, "--tables", "orders", "--as-table", "orders_restored", "--dry-run")
    assert (code, tables(origin).count("orders_restored")) == (0, 0), output
    assert "as table public.orders_restored: rows only." in output
    code, output = restore(repository, origin, "--tables", "orders", "--as-table", "orders_restored")
    assert code == 0, output
    assert "as table public.orders_restored: 4,000 rows." in output
    assert origin.ask("SELECT count(*) FROM pg_constraint WHERE conrelid = 'orders_restored'::regclass") == [(0,)]
    [copy_back] = [line for line in output.splitlines() if "INSERT INTO" in line]
    origin.run(copy_back.replace("…", "id % 2 = 0"))
    assert origin.ask(fingerprint.format("orders")) == before
    assert [name for (name,) in origin.ask("SELECT datname FROM pg_database") if "_restoring_" in name] == []
    code, output = restore(repository, origin, "--tables", "orders", "--as-table", "orders_restored")
    assert (code, "table public.orders_restored already exists" in output) == (1, True), output


def test_a_partitioned_table_is_restored_whole_and_a_side_table_needs_one_table(
    repository: Repository, shop: Shop
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    code, output = restore(repository, origin, "--tables", "events", "--as-table", "stock.events_again")
    assert code == 0, output
    assert origin.ask("SELECT count(*) FROM stock.events_again") == origin.ask("SELECT count(*) FROM events")
    reads = origin.ask("SELECT has_table_privilege('shop_reader', 'stock.events_again', 'SELECT')")
    assert reads == [(False,)], "it has no row security, whatever the default privileges of the schema are"
    for names in ((), ("--tables", "orders", "--tables", "customers")):
        code, output = restore(repository, origin, *names, "--as-table", "x")
        assert code == 64, output


def test_definitions_that_pg_restore_cannot_read_are_an_error_with_its_reason(
    repository: Repository, shop: Shop, database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.environment(text=repository.section("shop", shop(16)))
    taken = repository.backup()
    monkeypatch.setattr(pg_restore, "script_command", lambda program, _archive: [program.path, "--file=-", "/dev/null"])
    code, output = restore(repository, database(16), "--tables", "orders")
    assert code == 1, output
    assert f"the definitions of set {taken} cannot be read: pg_restore: error: " in output


# What these tables need is in no list of dependencies: an operator class, the body of a function.
WITH_EXTENSIONS = """
CREATE EXTENSION btree_gist; CREATE EXTENSION pgcrypto; CREATE EXTENSION file_fdw;
CREATE TABLE rooms (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE FUNCTION hash(t text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT encode(public.digest(t, 'sha1'), 'hex') $$;
CREATE TABLE hashed (t text, h text GENERATED ALWAYS AS (hash(t)) STORED);
INSERT INTO hashed VALUES ('x');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE lines (l text) SERVER files OPTIONS (filename '/nonexistent');
CREATE TABLE "two
lines" (id serial PRIMARY KEY);
INSERT INTO "two
lines" DEFAULT VALUES;
CREATE TABLE days (day date, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
CREATE TABLE first_day PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
CREATE INDEX ON days (n);
"""


@majors(15)
def test_a_table_is_restored_with_what_its_definition_does_not_name(
    major: int, repository: Repository, database: New
) -> None:
    origin = database(major)
    origin.run(WITH_EXTENSIONS)
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    target = database(major)
    names = [option for name in ("rooms", "hashed", "lines", "two\nlines") for option in ("--tables", name)]
    code, output = restore(repository, target, *names)
    assert code == 0, output
    assert target.ask("SELECT h FROM hashed") == origin.ask("SELECT h FROM hashed")
    assert target.ask('SELECT count(*) FROM "two\nlines"') == [(1,)]
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename LIKE {} ORDER BY 1"
    assert target.ask(indexes.format("'rooms'")) == origin.ask(indexes.format("'rooms'"))

    alone = database(major)
    code, output = restore(repository, alone, "--tables", "first_day")
    assert code == 0, output
    assert alone.ask(indexes.format("'%day%'")) == origin.ask(indexes.format("'%day%'"))
