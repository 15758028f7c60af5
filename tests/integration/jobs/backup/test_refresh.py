"""Refresh a staging database from production's newest verified set. Nobody can read rows before they are sanitised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.lock import restore_lock
from jobs.run.context import RunContext
from jobs.run.job import Failed
from tests.parts.crew import Repository
from tests.parts.patience import until
from tests.parts.postgres import Database, Server
from tests.parts.processes import all_command_lines

SCRIPT = """
DO $$ BEGIN
  ASSERT (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) = 0, 'others can connect';
END $$;
UPDATE customers SET name = 'customer ' || id;
DELETE FROM letters;
UPDATE unlogged_names SET name = 'nobody';
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
"""


@pytest.fixture
def production(
    repository: Repository, database: Callable[..., Database], postgres: Callable[[int], Server]
) -> Iterator[Database]:
    """Return a database with names of people, which a protected environment has backed up and verified."""
    origin = database(16)
    origin.run(
        "CREATE TABLE customers AS SELECT n AS id, 'Real Name'::text AS name FROM generate_series(1, 500) n",
        "CREATE TABLE letters AS SELECT 'Dear Real Name'::text AS body FROM generate_series(1, 500) n",
        "ALTER TABLE letters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE MATERIALIZED VIEW openings AS SELECT DISTINCT body FROM letters",
        "CREATE UNLOGGED TABLE unlogged_names AS SELECT name FROM customers",
        "CREATE MATERIALIZED VIEW z_names AS SELECT name FROM customers",
        "CREATE VIEW m_names AS SELECT name FROM z_names",
        "CREATE MATERIALIZED VIEW a_names AS SELECT DISTINCT name FROM m_names",
        "CREATE MATERIALIZED VIEW no_names AS SELECT name FROM a_names WITH NO DATA",
        "SELECT lo_from_bytea(0, 'Dear Real Name')",
        f"ALTER DATABASE {origin.name} SET app.jwt_secret = 'only for production'",
        "CREATE ROLE refreshed_reader LOGIN PASSWORD 'only for production'",
        "GRANT SELECT ON customers TO refreshed_reader",
    )
    repository.environment("production", repository.section("shop", origin), protected=True)
    repository.backup("shop", "production")
    verified = repository.crew("run", "verify", "production")
    assert verified.code == 0, verified
    yield origin
    origin.run("DROP OWNED BY refreshed_reader")
    for major in (16, 18):
        with postgres(major).connect() as server:
            server.execute("DROP ROLE IF EXISTS refreshed_reader")


@pytest.fixture
def staging(repository: Repository, production: Database, postgres: Callable[[int], Server]) -> Iterator[Database]:
    """Return the database of the environment that is refreshed. It does not exist yet."""
    target = Database(postgres(18), "refreshed")
    section = (
        f'[refresh.shop]\nfrom = "production/shop"\ninto = "{target.url}"\nsanitise = "shop.sql"\n'
        f'password = {{ file = "{repository.password(target)}" }}\nrestore_as = "postgres"\n'
    )
    (repository.root / "inventories").mkdir(exist_ok=True)
    (repository.root / "inventories/shop.sql").write_text(SCRIPT)
    repository.environment("staging", section)
    yield target
    with target.server.connect() as server:
        for name in databases(target.server):
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def databases(server: Server) -> list[str]:
    with server.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'refreshed%' ORDER BY 1")
        return [name for (name,) in rows.fetchall()]


def test_a_refresh_sanitises_and_keeps_the_settings_of_the_target(
    repository: Repository, production: Database, staging: Database
) -> None:
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert staging.ask("SELECT DISTINCT name ~ '^customer ' FROM customers") == [(True,)]
    staging.run("ALTER DATABASE refreshed SET work_mem = '7MB'", "REVOKE CONNECT ON DATABASE refreshed FROM PUBLIC")
    names = watched(staging, lambda: repository.crew("run", "refresh", "staging").code)
    assert names == {"customer 1"}, "the database never has rows that are not sanitised"
    assert staging.ask("SHOW work_mem") == [("7MB",)]
    assert staging.ask("SELECT datconnlimit FROM pg_database WHERE datname = 'refreshed'") == [(-1,)]
    assert staging.ask("SELECT has_database_privilege('refreshed_reader', 'refreshed', 'CONNECT')") == [(False,)]
    assert staging.ask("SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE '%Real%'") == [(0,)]
    assert staging.ask("SELECT n_distinct FROM pg_stats WHERE tablename = 'customers' AND attname = 'name'") == [
        (-1.0,)
    ]
    assert staging.ask("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = 'refreshed_reader'") == [
        (False, None)
    ]
    assert len(databases(staging.server)) == 2
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert len(databases(staging.server)) == 2, "only the last replaced database is kept"


def test_views_see_only_sanitised_rows_and_no_setting_of_production_comes_along(
    repository: Repository, production: Database, staging: Database
) -> None:
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    for relation in ("z_names", "a_names", "unlogged_names", "openings"):
        assert staging.ask(f"SELECT count(*) FROM {relation} r WHERE r::text LIKE '%Real%'") == [(0,)], relation
    assert staging.ask("SELECT count(*) > 0 FROM a_names") == [(True,)]
    assert staging.ask("SELECT relispopulated FROM pg_class WHERE relname = 'no_names'") == [(False,)]
    assert staging.ask("SELECT count(*) FROM pg_largeobject") == [(0,)]
    assert staging.ask("SELECT current_setting('app.jwt_secret', true)") == [(None,)]


@pytest.fixture
def plain(repository: Repository, staging: Database) -> Iterator[None]:
    """Let the refresh use a role without superuser rights."""
    file = repository.root / "inventories/staging.toml"
    file.write_text(file.read_text().replace("postgres@", "refresher@").replace('restore_as = "postgres"\n', ""))
    with staging.server.connect() as server:
        server.execute(f"CREATE ROLE refresher LOGIN CREATEDB PASSWORD '{staging.password}'")
    yield
    with staging.server.connect() as server:
        for name in databases(staging.server):
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.execute("DROP ROLE refresher")


def test_the_script_ends_when_its_run_is_killed(repository: Repository, staging: Database) -> None:
    script = repository.root / "inventories/shop.sql"
    script.write_text("SELECT pg_sleep(600);")
    running = repository.start("run", "refresh", "staging")
    until(lambda: f"--file={script}" in all_command_lines())
    running.kill()
    running.communicate()
    until(lambda: f"--file={script}" not in all_command_lines())


@pytest.mark.usefixtures("plain")
def test_no_other_role_can_connect_before_the_rows_are_sanitised(
    repository: Repository, production: Database, staging: Database
) -> None:
    with staging.server.connect() as server:
        server.execute("CREATE ROLE refreshed_reader LOGIN")
    (repository.root / "inventories/shop.sql").write_text("DELETE FROM letters;")
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 1, refreshed
    assert 'query would be affected by row-level security policy for table "letters"' in refreshed.out
    (repository.root / "inventories/shop.sql").write_text(
        "DO $$ BEGIN ASSERT NOT has_database_privilege('refreshed_reader', current_database(), 'CONNECT'); END $$;"
    )
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert staging.ask("SELECT body FROM openings") == [("Dear Real Name",)]
    flags = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'letters'"
    assert staging.ask(flags) == [(True, True)]
    can_connect = "SELECT has_database_privilege('refreshed_reader', 'refreshed', 'CONNECT')"
    assert staging.ask(can_connect) == [(True,)]
    staging.run("REVOKE CONNECT ON DATABASE refreshed FROM PUBLIC")
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert staging.ask(can_connect) == [(False,)]
    assert staging.ask("SELECT has_database_privilege('refresher', 'refreshed', 'CONNECT')") == [(True,)]


AS_ROLE = """
DO $$ BEGIN
  ASSERT session_user ~ '^(refresher$|groundcrew_restore_)' AND NOT current_setting('is_superuser')::bool,
    'a superuser runs the script';
  ASSERT current_setting('search_path') = 'app, public', 'it has another search_path';
  ASSERT (SELECT count(*) = 0 FROM pg_roles WHERE rolname <> session_user AND NOT rolsuper AND rolcanlogin
    AND has_database_privilege(rolname, current_database(), 'CONNECT')), 'others can connect';
END $$;
UPDATE customers SET name = 'customer ' || id;
"""


def test_a_superuser_lets_an_ordinary_role_run_the_script(
    repository: Repository, production: Database, staging: Database
) -> None:
    file = repository.root / "inventories/staging.toml"
    text = file.read_text()
    file.write_text(text.replace('restore_as = "postgres"\n', ""))
    refused = repository.crew("run", "refresh", "staging")
    assert refused.code == 1, refused
    assert "postgres is a superuser, and the script shop.sql can call functions of production/shop" in refused.out
    file.write_text(
        text.replace('restore_as = "postgres"\n', 'restore_as = "refresher"\n')
        + f'restore_as_password = {{ file = "{repository.password(staging)}" }}\n'
    )
    (repository.root / "inventories/shop.sql").write_text(AS_ROLE)
    with staging.server.connect() as server:
        server.execute("CREATE DATABASE refreshed")
        server.execute(f"CREATE ROLE refresher LOGIN PASSWORD '{staging.password}'")
        server.execute("CREATE ROLE refreshed_reader LOGIN")
    staging.run("CREATE SCHEMA app", "ALTER DATABASE refreshed SET search_path = app, public")
    try:
        refreshed = repository.crew("run", "refresh", "staging")
        assert refreshed.code == 0, refreshed
        assert staging.ask("SELECT DISTINCT name ~ '^customer ' FROM customers") == [(True,)]
        assert staging.ask("SELECT count(*) FROM z_names WHERE name LIKE '%Real%'") == [(0,)]
        assert staging.ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'refreshed'") == [
            ("postgres",)
        ]
        assert staging.ask("SELECT has_database_privilege('refreshed_reader', 'refreshed', 'CONNECT')") == [(True,)]
        assert staging.ask("SELECT has_table_privilege('refreshed_reader', 'customers', 'SELECT')") == [(True,)]
        file.write_text(text.replace('restore_as = "postgres"\n', ""))
        staging.run("ALTER DATABASE refreshed OWNER TO refresher")
        by_default = repository.crew("run", "refresh", "staging")
        assert by_default.code == 0, by_default
        assert staging.ask("SELECT DISTINCT name ~ '^customer ' FROM customers") == [(True,)]
        owners = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'customers'"
        assert staging.ask(owners) == [("refresher",)]
    finally:
        with staging.server.connect() as server:
            for name in databases(staging.server):
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")
            server.execute("DROP ROLE refresher")


def put_aside(server: Server) -> str:
    [name] = [name for name in databases(server) if "_replaced_" in name]
    return name


def test_a_refresh_after_a_revert_keeps_the_live_database_and_one_copy(
    repository: Repository, production: Database, staging: Database
) -> None:
    for _ in range(2):
        refreshed = repository.crew("run", "refresh", "staging")
        assert refreshed.code == 0, refreshed
    reverted_to = put_aside(staging.server)
    with staging.server.connect() as server:
        server.execute("ALTER DATABASE refreshed RENAME TO refreshed_bad")
        server.execute(f"ALTER DATABASE {reverted_to} RENAME TO refreshed")
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert databases(staging.server) == ["refreshed", "refreshed_bad", put_aside(staging.server)]
    assert staging.ask("SELECT DISTINCT name ~ '^customer ' FROM customers") == [(True,)]
    assert staging.ask("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'refreshed'") == [
        (None,)
    ]


def test_a_session_on_the_database_put_aside_does_not_keep_it(
    repository: Repository, production: Database, staging: Database
) -> None:
    for _ in range(2):
        refreshed = repository.crew("run", "refresh", "staging")
        assert refreshed.code == 0, refreshed
    first = put_aside(staging.server)
    with staging.server.connect(first) as session:
        refreshed = repository.crew("run", "refresh", "staging")
        assert refreshed.code == 0, refreshed
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert put_aside(staging.server) != first
    assert len(databases(staging.server)) == 2


def test_a_restore_by_hand_keeps_what_it_replaces_from_the_next_refresh(
    repository: Repository, production: Database, staging: Database
) -> None:
    for _ in range(2):
        refreshed = repository.crew("run", "refresh", "staging")
        assert refreshed.code == 0, refreshed
    reverted_to = put_aside(staging.server)
    with staging.server.connect() as server:
        server.execute("DROP DATABASE refreshed")
        server.execute(f"ALTER DATABASE {reverted_to} RENAME TO refreshed")
    restored = repository.crew(
        "backups", "restore", "production", "shop", "--replace", "--into", staging.url,
        "--password-from", f"file:{repository.password(staging)}",
    )  # fmt: skip
    assert restored.code == 0, restored
    kept = put_aside(staging.server)
    refreshed = repository.crew("run", "refresh", "staging")
    assert refreshed.code == 0, refreshed
    assert kept in databases(staging.server)


def watched(database: Database, action: Callable[[], int]) -> set[str]:
    """Query a database repeatedly during an action, and return the names that the queries saw."""
    done, seen = threading.Event(), set()

    def ask() -> None:
        while not done.is_set():
            try:
                seen.update(name for (name,) in database.ask("SELECT name FROM customers WHERE id = 1"))
            except psycopg.Error:
                continue

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert action() == 0
    finally:
        done.set()
        thread.join()
    return seen


def test_a_script_that_fails_leaves_no_copy(repository: Repository, production: Database, staging: Database) -> None:
    for script, why in (
        ("UPDATE customers SET nam = 'x';", 'column "nam" of relation "customers" does not exist'),
        ("UPDATE customers SET name = 'x';\nSELECT 1/0;", "division by zero"),
    ):
        (repository.root / "inventories/shop.sql").write_text(script)
        ended = repository.crew("run", "refresh", "staging")
        assert ended.code == 1, ended
        assert why in ended.out
        assert databases(staging.server) == []


def test_a_failure_in_any_step_keeps_the_old_database_and_no_copy(
    repository: Repository, production: Database, staging: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staging.server.connect() as server:
        server.execute("CREATE DATABASE refreshed")
    staging.run("CREATE TABLE customers AS SELECT 'old name' AS name")
    for failing in (
        "definitions",
        "rows",
        "indexes and constraints",
        "check",
        "sanitise",
        "materialised views",
        "statistics",
        "swap",
    ):
        with monkeypatch.context() as patched:
            patched.setattr(RunContext, "step", failing_at(failing))
            ended = repository.crew("run", "refresh", "staging")
        assert ended.code == 1, ended
        assert f"{failing} failed" in ended.out
        assert databases(staging.server) == ["refreshed"]
        assert staging.ask("SELECT name FROM customers") == [("old name",)]


def failing_at(name: str) -> Callable[..., AbstractContextManager[None]]:
    """Return a step that fails at its end. A swap cannot be undone, so it fails before it starts."""
    real = RunContext.step

    @contextmanager
    def step(run: RunContext, step_name: str) -> Iterator[None]:
        if step_name == name == "swap":
            raise Failed(f"{name} failed")
        with real(run, step_name):
            yield
        if step_name == name:
            raise Failed(f"{name} failed")

    return step


def test_uses_only_verified_sets(repository: Repository, production: Database, staging: Database) -> None:
    verified = repository.crew("run", "refresh", "staging", "--dry-run").out
    newer = repository.backup("shop", "production")
    again = repository.crew("run", "refresh", "staging", "--dry-run").out
    assert newer not in again
    assert "would fill it from set" in again
    assert verified.split()[-3:] == again.split()[-3:]
    for verification in repository.store.glob("production/backups/shop/*/verifications/*"):
        verification.unlink()
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1, ended
    assert "crew backups verify production shop" in ended.out


def test_does_not_refresh_protected_databases(repository: Repository, production: Database, staging: Database) -> None:
    file = repository.root / "inventories/staging.toml"
    text = file.read_text()
    file.write_text(text.replace("protected = false", "protected = true"))
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1, ended
    assert "staging is protected" in ended.out
    file.write_text(text.replace(staging.url, production.server.socket_url(production.name)))
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1, ended
    assert "belongs to production, which is protected" in ended.out
    assert production.ask("SELECT DISTINCT name FROM customers") == [("Real Name",)]


def test_a_refresh_needs_an_answer_from_every_protected_environment(
    repository: Repository, production: Database, staging: Database
) -> None:
    elsewhere = '[databases.shop]\nurl = "postgresql://me@vault.internal/refreshed"\n'
    repository.environment("vault", elsewhere, protected=True)
    manifest = repository.store / "vault/backups/shop/20261121T020000Z-3f9a/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not readable")
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1, ended
    assert "cannot tell whether refreshed belongs to the protected environment vault" in ended.out
    assert databases(staging.server) == []
    file = repository.root / "inventories/staging.toml"
    file.write_text(file.read_text() + 'unchecked = ["vault"]\n')
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 0, ended


def test_a_refresh_and_a_restore_exclude_each_other(
    repository: Repository, production: Database, staging: Database
) -> None:
    with restore_lock(Endpoint(conninfo_to_dict(staging.url), staging.password)):
        ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1, ended
    assert "database refreshed: another restore or refresh of it is running" in ended.out
