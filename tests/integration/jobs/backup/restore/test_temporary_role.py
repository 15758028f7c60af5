"""The role that executes what a set brings while a superuser restores: what it cannot do, and that it is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.postgres.copies import restoring_name
from jobs.backup.restore.temporary_role import VERIFYING_ROLES, role_prefix
from jobs.backup.verify.scratch import SCRATCH_DATABASE
from tests.integration.jobs.backup.restore.test_ordinary_role import restore, temporary_roles
from tests.parts import postgres as servers
from tests.parts.crew import Repository
from tests.parts.postgres import PASSWORD, Database, Server

# It raises an error if a way to more rights works.
PROBE = """
CREATE FUNCTION public.probe(integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
  IF session_user = 'owner' THEN RETURN true; END IF;
  FOREACH statement IN ARRAY ARRAY[
    'SET SESSION AUTHORIZATION postgres', 'SET ROLE postgres', 'SET ROLE owner', 'SET ROLE other',
    'ALTER ROLE owner SUPERUSER', 'CREATE ROLE planted', 'GRANT pg_read_all_data TO owner',
    'COPY (SELECT 1) TO PROGRAM ''true''', 'SELECT pg_catalog.pg_read_file(''PG_VERSION'')',
    'SELECT * FROM pg_catalog.pg_authid', 'ALTER SYSTEM SET work_mem = ''5MB''', 'CREATE DATABASE planted',
    'CREATE EVENT TRIGGER planted ON sql_drop EXECUTE FUNCTION public.on_drop()',
    'DROP DATABASE postgres', 'COMMENT ON DATABASE shop IS ''planted'''
  ] LOOP
    BEGIN
      EXECUTE statement;
      RAISE EXCEPTION 'planted: % worked', statement USING ERRCODE = 'ZZ001';
    EXCEPTION WHEN SQLSTATE 'ZZ001' THEN RAISE; WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  EXECUTE pg_catalog.format('ALTER ROLE %I VALID UNTIL ''infinity''', session_user);
  RETURN true;
EXCEPTION WHEN insufficient_privilege THEN RETURN true; END $$;
CREATE FUNCTION public.on_drop() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE TABLE public.probed (id integer CHECK (public.probe(id)));
INSERT INTO public.probed VALUES (1);
"""
NAMES = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
CONFIGURED = """
CREATE TABLE public.configured (id serial PRIMARY KEY);
SELECT pg_catalog.pg_extension_config_dump('public.configured', '');
SELECT pg_catalog.pg_extension_config_dump('public.configured_id_seq', '');
"""
REFERRING = """
CREATE TABLE public.referring (id regclass);
SELECT pg_catalog.pg_extension_config_dump('public.referring', '');
"""
SCHEDULING = """
CREATE TABLE @extschema@.job (username text DEFAULT current_user, command text);
ALTER TABLE @extschema@.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON @extschema@.job USING (username = current_user);
SELECT pg_catalog.pg_extension_config_dump('job', '');
"""
PLANTED = """
CREATE FUNCTION public.plant(i int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
  BEGIN
    INSERT INTO cron.job VALUES ('postgres', 'ALTER ROLE owner SUPERUSER');
  EXCEPTION WHEN insufficient_privilege OR undefined_table THEN NULL; END;
  EXECUTE 'CREATE FUNCTION cron.planted() RETURNS int LANGUAGE sql AS $f$SELECT 1$f$';
  RETURN true; EXCEPTION WHEN insufficient_privilege OR invalid_schema_name THEN RETURN true; END $$;
CREATE TABLE planting (i int CHECK (public.plant(i)));
INSERT INTO planting VALUES (1);
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    with servers.start(18, folder) as started:
        with started.connect() as connection:
            connection.execute(f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE ROLE other")
        yield started


@pytest.fixture
def shop(server: Server, repository: Repository) -> Iterator[Database]:
    with servers.fresh(server, "shop") as database:
        database.run("ALTER DATABASE shop OWNER TO owner")
        repository.environment(text=repository.section("shop", database))
        yield database
        with server.connect() as connection:
            connection.execute("DROP DATABASE IF EXISTS created WITH (FORCE)")


def run_as_owner(shop: Database, script: str) -> None:
    shop.run("SET SESSION AUTHORIZATION owner; " + script)


def test_functions_of_the_set_have_no_rights(repository: Repository, server: Server, shop: Database) -> None:
    run_as_owner(shop, PROBE)
    repository.backup()
    restored = restore(repository, server, "created", "--create")
    assert restored.code == 0, restored
    assert Database(server, "created").ask("SELECT id FROM probed") == [(1,)]
    assert temporary_roles(server) == []
    by_superuser = restore(repository, server, "by_superuser", "--create", "--as", "postgres")
    assert "planted: SET SESSION AUTHORIZATION postgres worked" in by_superuser.err


def test_rows_of_extensions_are_restored(repository: Repository, server: Server, shop: Database) -> None:
    with servers.extension(server.major, "crewconfigured", CONFIGURED):
        shop.run("CREATE EXTENSION crewconfigured", "INSERT INTO configured DEFAULT VALUES")
        run_as_owner(shop, "CREATE TABLE mine (id integer)")
        repository.backup()
        restored = restore(repository, server, "created", "--create")
        assert restored.code == 0, restored
        created = Database(server, "created")
        assert created.ask("SELECT nextval('configured_id_seq'), count(*) FROM configured") == [(2, 1)]
        assert created.ask("SELECT count(*) FROM pg_shdepend WHERE refobjid = 0") == [(0,)]


def test_code_of_the_set_has_the_rights_of_the_owner_in_extensions(
    repository: Repository, server: Server, shop: Database
) -> None:
    """The superuser restores rows of extensions, before or without code of the set. Row security does not stop that."""
    with (
        servers.extension(server.major, "crewscheduling", SCHEDULING),
        servers.extension(server.major, "crewreferring", REFERRING),
        servers.extension(server.major, "crewconfigured", CONFIGURED),
    ):
        shop.run(
            "CREATE SCHEMA cron; CREATE EXTENSION crewscheduling SCHEMA cron",
            "INSERT INTO cron.job VALUES ('postgres', 'VACUUM')",
            "CREATE SCHEMA shared; CREATE EXTENSION crewconfigured SCHEMA shared; GRANT ALL ON SCHEMA shared TO owner",
            "CREATE EXTENSION crewreferring; INSERT INTO referring VALUES ('pg_class')",
        )
        run_as_owner(shop, "CREATE TABLE shared.mine (id int);" + PLANTED)
        shop.run("INSERT INTO referring VALUES ('shared.mine')")
        repository.backup()
        restored = restore(repository, server, "created", "--create")
        assert restored.code == 0, restored
        created = Database(server, "created")
        assert created.ask("SELECT * FROM cron.job") == [("postgres", "VACUUM")]
        assert created.ask("SELECT FROM pg_proc WHERE proname = 'planted'") == []
        assert created.ask("SELECT id::text FROM referring") == [("pg_class",), ("shared.mine",)]
        assert created.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'mine'") == [("owner",)]
        acl = "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname IN ('cron', 'shared') ORDER BY 1"
        assert created.ask(acl) == shop.ask(acl)


def test_a_set_that_needs_a_superuser_is_refused_before_anything_changes(
    repository: Repository, server: Server, shop: Database
) -> None:
    run_as_owner(shop, "CREATE TABLE mine (id integer)")
    shop.run(
        "CREATE TABLE audit (id integer)", "CREATE TABLE of_other (id integer)", "ALTER TABLE of_other OWNER TO other"
    )
    repository.backup()
    refused = restore(repository, server, "created", "--create")
    assert refused.code == 1, refused
    assert "only a superuser can restore TABLE public audit of postgres; TABLE public of_other of other." in refused.err
    assert "add: --as postgres" in refused.err
    with server.connect() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = 'created'").fetchone() is None
    all_of_owner = restore(repository, server, "created", "--create", "--as", "owner")
    assert all_of_owner.code == 0, all_of_owner
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('audit', 'mine', 'of_other')"
    assert Database(server, "created").ask(owners) == [("owner",)]
    mine = restore(repository, server, "created", "--tables", "mine", "--as-table", "mine_again")
    assert mine.code == 0, mine


def test_a_warning_names_whose_functions_run_as_superuser(
    repository: Repository, server: Server, shop: Database
) -> None:
    shop.run("ALTER DATABASE shop OWNER TO postgres", "CREATE TABLE mine (id integer)")
    repository.backup()
    alone = restore(repository, server, "created", "--create", "--dry-run")
    assert "warning" not in alone.err, alone
    shop.run("CREATE TABLE of_other (id integer)", "ALTER TABLE of_other OWNER TO other")
    repository.backup()
    warned = restore(repository, server, "created", "--create", "--dry-run")
    assert "functions of the set run as the superuser postgres during the restore" in warned.err, warned
    assert "Others have objects in it: TABLE public of_other of other." in warned.err
    chosen = restore(repository, server, "created", "--create", "--dry-run", "--as", "postgres")
    assert "warning" not in chosen.err, chosen
    shop.run("ALTER DATABASE shop OWNER TO owner", "ALTER ROLE owner SET application_name = 'a WITH SUPERUSER b'")
    repository.backup()
    shop.run("ALTER ROLE owner SUPERUSER")
    grown = restore(repository, server, "created", "--create", "--dry-run")
    shop.run("ALTER ROLE owner NOSUPERUSER", "ALTER ROLE owner RESET application_name")
    assert "the owner of the database, owner, is a superuser here, and was none at the server" in grown.err, grown


def test_what_a_killed_restore_left_is_dropped(repository: Repository, server: Server, shop: Database) -> None:
    run_as_owner(shop, "CREATE TABLE mine (id integer)")
    repository.backup()
    left = role_prefix("created") + "0123abcd"
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {left} LOGIN")
        connection.execute(f"CREATE DATABASE created OWNER {left}")
        connection.execute(f"CREATE ROLE {role_prefix('another')}0123abcd")
        connection.execute(f"CREATE ROLE {role_prefix('created')}of_copy LOGIN")
        copy = restoring_name("created", datetime.now(UTC))
        connection.execute(f"CREATE DATABASE {copy} OWNER {role_prefix('created')}of_copy")
    Database(server, "created").run("CREATE TABLE of_killed (id integer)", f"ALTER TABLE of_killed OWNER TO {left}")
    added = restore(repository, server, "created", "--tables", "mine")
    assert added.code == 0, added
    owners = "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('of_killed', 'mine') ORDER BY 1"
    assert Database(server, "created").ask(owners) == [("mine", "owner"), ("of_killed", "owner")]
    restored = restore(repository, server, "created", "--replace")
    assert restored.code == 0, restored
    remaining = [f"{role_prefix('another')}0123abcd", f"{role_prefix('created')}of_copy"]
    assert sorted(temporary_roles(server)) == sorted(remaining)
    with server.connect() as connection:
        of_copy = connection.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles r JOIN pg_database ON datdba = r.oid WHERE datname = %s", [copy]
        ).fetchone()
        assert of_copy == (remaining[1], False), "a copy that is not sanitised gets no other owner"
        connection.execute(f"DROP DATABASE {copy}")
        for name in remaining:
            connection.execute(f"DROP ROLE {name}")
        for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_replaced_'").fetchall():
            connection.execute(f"DROP DATABASE {name}")


def verify_on(server: Server, repository: Repository, shop: Database, *lines: str) -> None:
    """Name the server, with its superuser, as the scratch server of verifications."""
    password = f'password = {{ file = "{repository.password(shop)}" }}'
    verify = ["[verify]", f'scratch = "{server.url()}"', password, *lines, ""]
    repository.environment(text=repository.section("shop", shop) + "\n".join(verify))


def test_functions_of_a_verified_set_have_no_rights(repository: Repository, server: Server, shop: Database) -> None:
    hostile = "CREATE INDEX ON public.probed (public.as_index(id)); GRANT SELECT ON public.probed TO other;"
    as_index = "CREATE FUNCTION public.as_index(integer) RETURNS boolean IMMUTABLE RETURN public.probe($1);"
    run_as_owner(shop, PROBE + as_index + hostile)
    verify_on(server, repository, shop)
    repository.backup()
    now = datetime.now(UTC)
    killed = restoring_name(SCRATCH_DATABASE, now - timedelta(hours=1))
    running = restoring_name(SCRATCH_DATABASE, now)
    left = [f"{role_prefix(name, VERIFYING_ROLES)}0123abcd" for name in (killed, "dropped", running)]
    with server.connect() as connection:
        before = connection.execute(NAMES).fetchall()
        for role in left:
            connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"CREATE DATABASE {killed} OWNER {left[0]}")
        connection.execute(f"CREATE DATABASE {running} OWNER {left[2]}")
        for role, hours in (("of_old_set", 48), ("of_running_set", 1)):
            created = (now - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            connection.execute(f"CREATE ROLE {role}")
            connection.execute(f"COMMENT ON ROLE {role} IS 'created by a verification of groundcrew at {created}'")
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified
    assert "superuser" not in verified.out + verified.err
    with server.connect() as connection:
        remaining = {name for (name,) in connection.execute(NAMES).fetchall()} - {name for (name,) in before}
        assert remaining == {running, left[2], "of_running_set"}, "only of a verification that can be running"
        connection.execute(f"DROP DATABASE {running}")
        connection.execute(f"DROP ROLE {left[2]}, of_running_set")
    verify_on(server, repository, shop, "as_superuser = true")
    repository.backup()
    by_superuser = repository.crew("backups", "verify", "staging", "shop")
    assert "planted: SET SESSION AUTHORIZATION postgres worked" in by_superuser.out, by_superuser


def test_a_server_that_refuses_the_login_is_named_in_a_warning(
    repository: Repository, server: Server, shop: Database
) -> None:
    run_as_owner(shop, "CREATE TABLE mine (id integer)")
    repository.backup()
    with server.connect() as connection:
        [[path]] = connection.execute("SHOW hba_file").fetchall()
        hba = Path(path)
        rules = hba.read_text()
        hba.write_text("local all postgres trust\nhost all postgres all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    try:
        restored = restore(repository, server, "created", "--create")
        assert restored.code == 0, restored
        assert "functions of the set run as the superuser postgres" in restored.err
        assert "no pg_hba.conf entry" in restored.err
        assert temporary_roles(server) == []
        verify_on(server, repository, shop)
        verified = repository.crew("run", "verify", "staging")
        assert verified.code == 1, verified
        assert "the server does not let a temporary role log in" in verified.out
        assert "as_superuser = true in [verify]" in verified.out
    finally:
        hba.write_text(rules)
        with server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
