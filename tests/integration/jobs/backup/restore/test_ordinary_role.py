"""Code that the owner of a database hides in it takes over the server of a superuser who restores it without --as."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore import fill
from jobs.backup.restore.task import RestoreTask
from tests.parts import postgres as servers
from tests.parts.crew import CrewResult, Repository
from tests.parts.needs import majors
from tests.parts.postgres import PASSWORD, Database, Server

TAKE_OVER = """
CREATE FUNCTION public.take_over(integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'RESET ROLE';
  EXECUTE 'RESET SESSION AUTHORIZATION';
  EXECUTE 'ALTER ROLE owner SUPERUSER';
  RETURN $1;
EXCEPTION WHEN OTHERS THEN RETURN $1; END $$;
CREATE FUNCTION public.hidden(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN RETURN public.take_over($1); END $$;
"""
HOSTILE = (
    TAKE_OVER,
    "CREATE DOMAIN public.taken AS integer CHECK (public.take_over(VALUE) > 0)",
    "CREATE FUNCTION public.step(public.taken, integer) RETURNS public.taken LANGUAGE sql AS 'SELECT $1'",
    "CREATE AGGREGATE public.early(integer) (SFUNC = public.step, STYPE = public.taken, INITCOND = '1')",
    "CREATE TABLE public.checked (id integer CHECK (public.take_over(id) > 0))",
    "CREATE TABLE public.computed (id integer, twice integer GENERATED ALWAYS AS (public.hidden(id)) STORED)",
    "CREATE TABLE public.indexed (id integer)",
    "CREATE TABLE public.typed (id public.taken)",
    "INSERT INTO public.checked VALUES (1)",
    "INSERT INTO public.typed VALUES (1)",
    "INSERT INTO public.computed VALUES (1)",
    "INSERT INTO public.indexed VALUES (1)",
    "CREATE INDEX ON public.indexed (public.hidden(id))",
    "CREATE MATERIALIZED VIEW public.seen AS SELECT public.take_over(id) FROM public.indexed",
    "ALTER TABLE public.indexed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "GRANT SELECT ON public.checked TO reader",
    'CREATE SCHEMA "public too"',
    'CREATE TABLE "public too".t AS SELECT 1 AS a',
)


@pytest.fixture
def server(tmp_path: Path, major: int) -> Iterator[Server]:
    """A server of this test's own with a hostile owner of a database."""
    tmp_path.chmod(0o755)
    with servers.start(major, tmp_path) as started:
        with started.connect() as connection:
            connection.execute(f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE ROLE reader")
            connection.execute("CREATE DATABASE shop OWNER owner")
        shop = Database(started, "shop")
        if major < 15:
            shop.run("ALTER SCHEMA public OWNER TO owner")
        url = shop.url.replace("postgres@", "owner@")
        with psycopg.connect(url, password=PASSWORD, autocommit=True) as connection:
            for statement in HOSTILE:
                connection.execute(statement.encode())
        yield started


def restore(repository: Repository, server: Server, database: str, *options: str) -> CrewResult:
    password = f"file:{repository.root}/password"
    into = ("--into", server.url(database), "--password-from", password)
    return repository.crew("backups", "restore", "staging", "shop", *into, *options)


def is_superuser(server: Server) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'").fetchone() == (True,)


@majors(13, 18)
def test_code_of_a_set_has_only_the_rights_of_the_role(repository: Repository, server: Server) -> None:
    shop = Database(server, "shop")
    repository.environment(text=repository.section("shop", shop))
    repository.backup()
    role = ("--as", "owner", "--as-password-from", f"file:{repository.root}/password")

    planned = restore(repository, server, "created", "--create", "--dry-run", *role)
    assert "Functions of the set would run as owner." in planned.out, planned
    created = restore(repository, server, "created", "--create", *role)
    assert created.code == 0, created
    assert "superuser" not in created.err
    with server.connect() as connection:
        connection.execute("CREATE DATABASE empty OWNER owner")
    assert restore(repository, server, "empty", *role).code == 0
    replaced = restore(repository, server, "shop", "--replace", *role)
    assert replaced.code == 0, replaced
    assert not is_superuser(server)

    for name in ("created", "empty", "shop"):
        database = Database(server, name)
        assert database.ask("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'checked'") == [("owner",)]
        assert database.ask("SELECT has_table_privilege('reader', 'checked', 'SELECT')") == [(True,)]
        assert database.ask("SELECT count(*) FROM pg_matviews WHERE ispopulated") == [(1,)]
        assert database.ask("SELECT has_database_privilege('reader', current_database(), 'CONNECT')") == [(True,)]

    chosen = restore(repository, server, "as_superuser", "--create", "--as", "postgres")
    assert chosen.code == 0, chosen
    assert is_superuser(server), "as a superuser the code of the set takes over the server"


def temporary_roles(server: Server) -> list[str]:
    with server.connect() as connection:
        rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^groundcrew_restore_'").fetchall()
    return [name for (name,) in rows]


@majors(13, 18)
def test_by_default_a_temporary_role_without_rights_restores(repository: Repository, server: Server) -> None:
    shop = Database(server, "shop")
    repository.environment(text=repository.section("shop", shop))
    repository.backup()
    with server.connect() as connection:
        connection.execute("CREATE DATABASE empty")

    planned = restore(repository, server, "created", "--create", "--dry-run")
    assert "as a temporary role without rights, and everything would belong to owner." in planned.out, planned
    for database, option in (("created", ["--create"]), ("empty", []), ("shop", ["--replace"])):
        restored = restore(repository, server, database, *option)
        assert restored.code == 0, restored
        assert "superuser" not in restored.err
        target = Database(server, database)
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert target.ask(owners) == [("owner",)]
        assert target.ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()") == [
            ("owner",)
        ]
        assert target.ask("SELECT has_table_privilege('reader', 'checked', 'SELECT')") == [(True,)]
        assert target.ask("SELECT has_database_privilege('reader', current_database(), 'CONNECT')") == [(True,)]
        assert target.ask("SELECT count(*) FROM pg_matviews WHERE ispopulated") == [(1,)]
    shop.run("ALTER TABLE checked RENAME TO checked_before")
    tables = restore(repository, server, "shop", "--tables", "checked")
    assert tables.code == 0, tables
    beside = restore(repository, server, "shop", "--tables", "typed", "--as-table", "typed_restored")
    assert beside.code == 0, beside
    beside_owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('typed_restored', 'checked')"
    assert shop.ask(beside_owner) == [("owner",), ("owner",)]
    assert not is_superuser(server)
    assert temporary_roles(server) == []


@majors(13, 18)
def test_the_role_cannot_connect_before_the_extensions_exist(
    repository: Repository, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could plant functions in schema public for their scripts, which run as a superuser."""
    shop = Database(server, "shop")
    repository.environment(text=repository.section("shop", shop))
    real, logins = fill.restore_definitions, []

    def restore_definitions(task: RestoreTask, *others: Any, **options: Any) -> None:
        url = server.url(task.into.database).replace("postgres@", "owner@")
        try:
            psycopg.connect(url, password=PASSWORD).close()
        except psycopg.OperationalError as error:
            logins.append(str(error).split("FATAL:  ")[1].split(" for ")[0])
        else:
            logins.append("connected")
        real(task, *others, **options)

    monkeypatch.setattr(fill, "restore_definitions", restore_definitions)
    role = ("--as", "owner", "--as-password-from", f"file:{repository.root}/password")
    with servers.extension(server.major, "crewplanted", "CREATE TABLE public.of_extension (id integer);"):
        shop.run("CREATE EXTENSION crewplanted")
        repository.backup()
        restored = restore(repository, server, "created", "--create", *role)
    assert restored.code == 0, restored
    assert (logins[0], {*logins[1:]}) == ("permission denied", {"connected"})
    assert Database(server, "created").ask("SELECT 1 FROM pg_extension WHERE extname = 'crewplanted'") == [(1,)]


@majors(13)
def test_the_owner_of_an_empty_database_plants_nothing_for_extensions(
    repository: Repository, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function with better fitting arguments wins against one of PostgreSQL, also in the script of an extension."""
    shop, empty = Database(server, "shop"), Database(server, "empty")
    repository.environment(text=repository.section("shop", shop))
    planted = """CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'ALTER ROLE owner SUPERUSER'; RETURN $1; END $$"""
    script = "CREATE TABLE public.of_extension AS SELECT upper('a'::varchar) AS name;"
    real = fill.restore_extensions

    def restore_extensions(*arguments: Any, **options: Any) -> fill.ExtensionRows:
        open_transaction.execute(planted)  # the check that the database is empty is over
        return real(*arguments, **options)

    with servers.extension(server.major, "crewscript", script), servers.extension(server.major, "crewold", ""):
        shop.run("CREATE EXTENSION crewscript")
        repository.backup()
        with server.connect() as connection:
            connection.execute("CREATE DATABASE empty OWNER owner")
        if server.major < 15:
            empty.run("ALTER SCHEMA public OWNER TO owner")
        url = empty.url.replace("postgres@", "owner@")
        with psycopg.connect(url, password=PASSWORD) as open_transaction, monkeypatch.context() as patched:
            patched.setattr(fill, "restore_extensions", restore_extensions)
            restored = restore(repository, server, "empty")
            assert restored.code == 0, restored
            with pytest.raises(psycopg.OperationalError):
                open_transaction.commit()
        assert not is_superuser(server)
        assert empty.ask("SELECT name FROM of_extension") == [("A",)]
        assert empty.ask("SELECT datconnlimit FROM pg_database WHERE datname = 'empty'") == [(-1,)]

        with server.connect() as connection:
            connection.execute("DROP DATABASE empty WITH (FORCE)")
            connection.execute("CREATE DATABASE empty OWNER owner")
        empty.run("CREATE EXTENSION crewold", "SET SESSION AUTHORIZATION owner; " + planted)
        empty.run("ALTER EXTENSION crewold ADD FUNCTION public.upper(varchar)")
        refused = restore(repository, server, "empty")
        assert "database empty is not empty: it has 1 table, function or other object" in refused.err, refused
        with server.connect() as connection:
            connection.execute("DROP DATABASE empty")
            connection.execute("CREATE DATABASE empty CONNECTION LIMIT 0")
        refused = restore(repository, server, "empty")
        assert 'ALTER DATABASE "empty" CONNECTION LIMIT -1' in refused.err, refused


@majors(13, 18)
def test_the_owner_of_an_empty_database_cannot_open_it_again(
    repository: Repository, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, empty = Database(server, "shop"), Database(server, "empty")
    repository.environment(text=repository.section("shop", shop))
    real, answers = fill.restore_definitions, []

    def restore_definitions(task: RestoreTask, *others: Any, **options: Any) -> None:
        url = server.url("postgres").replace("postgres@", "owner@")
        with psycopg.connect(url, password=PASSWORD, autocommit=True) as connection:
            try:
                connection.execute("ALTER DATABASE empty CONNECTION LIMIT -1")
                answers.append("opened")
            except psycopg.errors.InsufficientPrivilege as error:
                answers.append(str(error))
        real(task, *others, **options)

    def fail(*_arguments: Any, **_options: Any) -> None:
        empty.run("CREATE TABLE public.part ()")
        raise BackupError("the connection was lost")

    properties = "SELECT pg_get_userbyid(datdba)::text, datconnlimit FROM pg_database WHERE datname = 'empty'"
    with servers.extension(server.major, "crewscript", "CREATE TABLE public.of_extension (id integer);"):
        shop.run("CREATE EXTENSION crewscript")
        repository.backup()
        for definitions, end in ((fail, ("owner", 0)), (restore_definitions, ("owner", -1))):
            with server.connect() as connection:
                connection.execute("DROP DATABASE IF EXISTS empty")
                connection.execute("CREATE DATABASE empty OWNER owner")
            monkeypatch.setattr(fill, "restore_definitions", definitions)
            restored = restore(repository, server, "empty")
            assert (restored.code, empty.ask(properties)) == (int(end[1] == 0), [end]), restored
    assert {*answers} == {"must be owner of database empty"}


@majors(18)
def test_a_role_that_cannot_restore_is_refused_before_anything_changes(repository: Repository, server: Server) -> None:
    shop = Database(server, "shop")
    repository.environment(text=repository.section("shop", shop))
    repository.backup()
    with server.connect() as connection:
        connection.execute("CREATE ROLE member LOGIN IN ROLE postgres")
    role = ("--as-password-from", f"file:{repository.root}/password", "--create", "--as")
    for name, expected in (
        ("nobody", "this role does not exist on this server"),
        ("reader", "this role cannot log in"),
        ("postgres", "this role is a superuser"),
        ("member", "this role is a member of postgres, which is a superuser"),
    ):
        refused = restore(repository, server, "created", *role, name)
        assert refused.code == 1, refused
        assert expected in refused.err
    wrong = restore(repository, server, "created", "--create", "--as", "owner", "--as-password-from", "command:echo x")
    assert "--as owner: the login failed" in wrong.err
    assert 'password authentication failed for user "owner"' in wrong.err
    shop.run("CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    shop.run("CREATE EVENT TRIGGER ddl ON sql_drop EXECUTE FUNCTION on_ddl()")
    repository.backup()
    refused = restore(repository, server, "created", *role, "owner")
    assert "only a superuser can restore EVENT TRIGGER - ddl" in refused.err
    with server.connect() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = 'created'").fetchone() is None
