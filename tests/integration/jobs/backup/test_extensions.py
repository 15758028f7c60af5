"""Databases with extensions survive backup, verification and restore: what they bring, and what users keep in them.

`EXTENSIONS_SEED=1234` repeats a run with the seed that it printed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.portrait import differences, portrait
from tests.parts.postgres import DISTRIBUTION, SERVERS, Database, Server, start

NAMED = ("pg_cron", "postgis", "postgis_topology", "pg_partman")
AT_RANDOM = 6
ADDED_AGAIN = "public.powa_functions"
"""powa adds its rows again for each extension created after it. A restore by plain pg_restore has the same rows."""
PRELOADED = (
    "pg_cron", "pg_stat_statements", "pgaudit", "pg_qualstats", "pg_stat_kcache", "pg_wait_sampling", "pglogical",
    "set_user",
)  # fmt: skip
USED = {
    "bloom": "CREATE TABLE bloomed (a int, b int); CREATE INDEX ON bloomed USING bloom (a, b)",
    "btree_gist": "CREATE TABLE booked (room int, EXCLUDE USING gist (room WITH =)); INSERT INTO booked VALUES (1)",
    "citext": "CREATE TABLE of_citext (v citext PRIMARY KEY); INSERT INTO of_citext VALUES ('Word')",
    "cube": "CREATE TABLE of_cube (v cube); INSERT INTO of_cube VALUES ('(1, 2), (3, 4)')",
    "debversion": "CREATE TABLE of_debversion (v debversion); INSERT INTO of_debversion VALUES ('1:2.3-4~rc1')",
    "file_fdw": "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
    "hll": "CREATE TABLE of_hll (v hll); INSERT INTO of_hll VALUES (hll_add(hll_empty(), hll_hash_integer(1)))",
    "hstore": "CREATE TABLE of_hstore (v hstore); INSERT INTO of_hstore VALUES ('a=>1, \"b c\"=>NULL')",
    "intarray": "CREATE TABLE numbered (v int[]); CREATE INDEX ON numbered USING gin (v gin__int_ops)",
    "ip4r": "CREATE TABLE of_ip4r (v iprange); INSERT INTO of_ip4r VALUES ('10.0.0.0/8')",
    "isn": "CREATE TABLE of_isn (v isbn13); INSERT INTO of_isn VALUES ('978-0-393-04002-9')",
    "lo": "CREATE TABLE of_lo (v lo); INSERT INTO of_lo VALUES (lo_from_bytea(0, 'content'))",
    "ltree": "CREATE TABLE of_ltree (v ltree); CREATE INDEX ON of_ltree USING gist (v)",
    "numeral": "CREATE TABLE of_numeral (v numeral); INSERT INTO of_numeral VALUES ('twelve')",
    "pg_cron": "SELECT cron.schedule('0 0 1 1 *', 'SELECT 1')",
    "pg_partman": (
        "CREATE TABLE measured (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at); "
        "SELECT create_parent('public.measured', 'at', 'native', 'daily'); "
        "INSERT INTO measured SELECT now() + n * interval '1 hour', n FROM generate_series(1, 48) n"
    ),
    "pg_rational": "CREATE TABLE of_rational (v rational); INSERT INTO of_rational VALUES ('1/3')",
    "pg_sphere": "CREATE TABLE of_sphere (v spoint); INSERT INTO of_sphere VALUES ('(1, 0.5)')",
    "pg_trgm": "CREATE TABLE searched (v text); CREATE INDEX ON searched USING gin (v gin_trgm_ops)",
    "pgmp": "CREATE TABLE of_mpz (v mpz); INSERT INTO of_mpz VALUES ('123456789012345678901234567890')",
    "pgq": "SELECT pgq.create_queue('orders')",
    "postgis": (
        "CREATE TABLE places (v geometry(Point, 4326)); INSERT INTO places VALUES ('SRID=4326;POINT(1 2)'); "
        "CREATE INDEX ON places USING gist (v); INSERT INTO spatial_ref_sys (srid, srtext) VALUES (990001, 'own')"
    ),
    "postgis_topology": "SELECT topology.CreateTopology('city', 4326)",
    "prefix": "CREATE TABLE of_prefix (v prefix_range PRIMARY KEY); INSERT INTO of_prefix VALUES ('0[1-3]')",
    "rum": "CREATE TABLE texts (v tsvector); CREATE INDEX ON texts USING rum (v rum_tsvector_ops)",
    "seg": "CREATE TABLE of_seg (v seg); INSERT INTO of_seg VALUES ('1.5 .. 2')",
    "semver": "CREATE TABLE of_semver (v semver); INSERT INTO of_semver VALUES ('1.2.3-rc1')",
    "unaccent": "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple); "
    "ALTER TEXT SEARCH CONFIGURATION plain ALTER MAPPING FOR word WITH unaccent, simple",
    "unit": "CREATE TABLE of_unit (v unit); INSERT INTO of_unit VALUES ('3 m/s')",
    "uuid-ossp": "CREATE TABLE of_uuid (v uuid DEFAULT uuid_generate_v4()); INSERT INTO of_uuid VALUES (DEFAULT)",
}  # fmt: skip
"""How a database uses an extension: with its types, operator classes and functions, or with rows in its tables."""


@contextmanager
def server_with(major: int, folder: Path) -> Iterator[Server]:
    """Start a server that has preloaded what extensions need."""
    share = SERVERS[major].parent / "share/postgresql"
    controls = Path(f"/usr/share/postgresql/{major}") if major in DISTRIBUTION else share
    there = [name for name in PRELOADED if (controls / f"extension/{name}.control").exists()]
    settings = {"shared_preload_libraries": ",".join(there), "wal_level": "logical"}
    folder.mkdir(mode=0o755)
    with start(major, folder, settings | ({"cron.database_name": "app"} if "pg_cron" in there else {})) as server:
        yield server


def offered(server: Server) -> list[str]:
    """Return the extensions that a server offers. Names such as postgis-3 are the same extension again."""
    with server.connect() as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions WHERE name <> 'plpgsql' ORDER BY name")
        return [name for (name,) in rows if not name.endswith("-3")]


def create(database: Database, names: Collection[str]) -> dict[str, str]:
    """Create and use extensions; return why some cannot be, such as two that bring a function of the same name."""
    faults = {}
    with database.connect() as connection:
        for name in names:
            try:
                with connection.transaction():
                    connection.execute("SET LOCAL statement_timeout = '20s'")
                    connection.execute(f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE'.encode())
                    connection.execute(USED.get(name, "SELECT 1").encode())
            except psycopg.Error as error:
                faults[name] = str(error).splitlines()[0]
    return faults


def require_round_trip(repository: Repository, server: Server, names: Collection[str]) -> dict[str, str]:
    """Back up, verify and restore a database with extensions; return why some could not be created."""
    database = Database(server, "app")  # the server goes with it: some extensions stay connected to their database
    with server.connect() as connection:
        connection.execute("CREATE DATABASE app TEMPLATE template0")
    faults = create(database, names)
    repository.environment(text=repository.section("app", database))
    repository.backup("app")
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified.out + verified.err
    before = portrait(database.url, password=database.password)
    with server.connect() as connection:  # pg_cron works only in the database that its setting names
        connection.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'app'")
        connection.execute("ALTER DATABASE app RENAME TO app_before")
        connection.execute("CREATE DATABASE app TEMPLATE template0")
    into = ("--into", database.url, "--password-from", f"file:{repository.password(database)}")
    restored = repository.crew("backups", "restore", "staging", "app", *into)
    assert restored.code == 0, restored.out + restored.err
    found = differences(before, portrait(database.url, password=database.password))
    assert [line for line in found if ADDED_AGAIN not in line] == []
    return faults


@pytest.mark.long
def test_a_database_with_the_big_extensions_and_some_others(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    major = max(DISTRIBUTION, default=18)
    seed = int(os.environ.get("EXTENSIONS_SEED") or random.randrange(1 << 32))
    with server_with(major, tmp_path / "server") as server:
        available = offered(server)
        others = [name for name in available if name not in NAMED]
        named = [name for name in NAMED if name in available]
        chosen = [*named, *random.Random(seed).sample(others, min(AT_RANDOM, len(others)))]
        with capsys.disabled():
            missing = ", ".join(sorted({*NAMED} - {*named})) or "none"
            print(
                f"\nEXTENSIONS_SEED={seed} on PostgreSQL {major}: {', '.join(chosen)}; not on this machine: {missing}"
            )
        faults = require_round_trip(repository, server, chosen)
    assert not faults.keys() & {*NAMED}, faults


@pytest.mark.release
@pytest.mark.parametrize("major", [pytest.param(major, marks=needs(f"postgres-{major}")) for major in sorted(SERVERS)])
def test_a_database_with_all_extensions_that_a_server_offers(
    major: int, repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server_with(major, tmp_path / "server") as server:
        names = offered(server)
        faults = require_round_trip(repository, server, names)
    with capsys.disabled():
        print(f"\nPostgreSQL {major}: {len(names) - len(faults)} extensions: {', '.join({*names} - {*faults})}")
        print("\n".join(f"  not: {name}: {why}" for name, why in faults.items()))
