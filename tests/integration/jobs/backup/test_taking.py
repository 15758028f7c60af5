"""Sets are complete, correct and consistent for every kind of database."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from jobs import embedded
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.sets.manifest import PartKind
from jobs.backup.take import snapshot
from jobs.embedded import _postgres
from jobs.run.job import Outcome
from jobs.run.record import records
from jobs.run.runner import MANY_SUBJECTS
from tests.bench.measure import Peaks
from tests.parts import postgres as servers
from tests.parts.backups import Team, section, team
from tests.parts.crew import Repository
from tests.parts.needs import majors
from tests.parts.patience import deadline, until
from tests.parts.postgres import Database, Server

SHOP = (servers.NPM.parents[1] / "shop.sql").read_text()
New = Callable[..., Database]
BacksUp = Callable[..., Team]


def contents(archive: bytes, folder: Path, major: int = 18) -> str:
    """Return what pg_restore lists for an archive."""
    file = folder / "archive"
    file.write_bytes(archive)
    listed = subprocess.run(
        [embedded.programs(major) / "pg_restore", "--list", file], capture_output=True, text=True, check=True
    )
    return listed.stdout


@majors(13, 14, 15, 16, 17, 18)
@pytest.mark.usefixtures("small_streams")
def test_a_set_contains_everything_in_the_database(
    database: New, backs_up: BacksUp, tmp_path: Path, major: int
) -> None:
    shop = database(major)
    shop.run(SHOP)
    staging = backs_up(shop, "parallel = 2")

    record = staging.take(tags=("pre-migration", "v1"))

    assert record.outcome is Outcome.DONE, record.sentence
    manifest = staging.manifest()
    assert manifest.server.major == major
    assert int(manifest.tools["pg_dump"].split(".")[0]) >= major
    assert [part.name for part in manifest.parts] == ["defs", "rows-1-1", "rest", "roles", "description"]
    description = staging.description()
    assert description.table_parts == {"rows-1-1": '"public"."orders"'}
    assert description.segments["rows-1-1"].columns == ("id", "customer", "placed", "items", "hash")
    assert description.segments["rows-1-1"].rows == 4000
    assert {(t.schema, t.name): t.rows for t in description.tables} | {
        ("public", "orders"): 4000,
        ("Büro", 'Zettel "A". 1'): 6,
        ("Büro", "new\nline"): 2,
        ("public", "東京"): 2,
        ("public", "empty"): 0,
        ("public", "no_columns"): 2,
        ("public", "parent"): 1,
        ("public", "passing"): 10,
    } == {(t.schema, t.name): t.rows for t in description.tables}
    assert "events" not in {t.name for t in description.tables}  # only its partitions have rows
    assert {(s.name, s.last) for s in description.sequences} >= {("invoice_number", 5030), ("never used", None)}
    assert description.large_objects == 3
    [backup_set] = staging.sets()
    assert backup_set.tags == ("pre-migration", "v1")

    rest, definitions = (contents(staging.part(name), tmp_path) for name in ("rest", "defs"))
    script = staging.part("rows-1-1")
    assert script.count(b"\n") == script.count(b";\n") + 4000 + 1
    assert b'COPY "public"."orders" ("id", "customer", "placed", "items", "hash") FROM stdin;\n1\t2\t' in script
    assert "TABLE DATA public orders " not in rest
    for entry in ("TABLE DATA public customers", "SEQUENCE SET public invoice_number", "TABLE DATA public passing"):
        assert entry in rest
    assert "BLOB" in rest
    assert "TABLE public customers" in definitions
    assert staging.part("rest").startswith(staging.part("defs"))
    assert "CREATE ROLE shop_reader" in staging.part("roles").decode()


@majors(14)
def test_user_data_in_a_table_of_an_extension_is_in_the_rest(
    database: New, backs_up: BacksUp, tmp_path: Path, major: int
) -> None:
    """pg_dump --table would skip the rows, because the table belongs to the extension."""
    config = (
        "CREATE TABLE crew_config (a int, b text); INSERT INTO crew_config VALUES (1, 'shipped');"
        "SELECT pg_catalog.pg_extension_config_dump('crew_config', 'WHERE a > 1');"
    )
    with servers.extension(major, "crewtest", config):
        shop = database(major)
        shop.run("CREATE EXTENSION crewtest", "INSERT INTO crew_config VALUES (2, 'ours')")
        staging = backs_up(shop)
        assert staging.take().outcome is Outcome.DONE
    assert "TABLE DATA public crew_config" in contents(staging.part("rest"), tmp_path)
    assert b"2\tours" in staging.part("rest")
    assert b"1\tshipped" not in staging.part("rest")
    assert [extension.name for extension in staging.description().extensions] == ["crewtest", "plpgsql"]


@pytest.mark.usefixtures("small_streams")
@majors(13, 18)
def test_a_client_encoding_of_the_database_does_not_change_names(
    database: New, backs_up: BacksUp, tmp_path: Path, major: int
) -> None:
    """pg_dump takes the names of tables in the client_encoding, and crew passes them in UTF-8."""
    shop = database(major)
    shop.run(
        'CREATE TABLE "größe" AS SELECT repeat(md5(i::text), 30) a FROM generate_series(1, 2000) i',
        "CREATE TABLE small AS SELECT 'ä' a",
        f"ALTER DATABASE {shop.name} SET client_encoding = LATIN1",
    )
    staging = backs_up(shop)
    record = staging.take()
    assert record.outcome is Outcome.DONE, record.sentence
    assert staging.description().table_parts == {"rows-1-1": '"public"."größe"'}
    assert 'COPY "public"."größe" ("a") FROM stdin;' in staging.part("rows-1-1").decode()
    rest = staging.part("rest")
    assert "TABLE DATA public größe" not in contents(rest, tmp_path)
    assert "ä\n".encode() in rest


def test_a_backup_names_tables_that_no_dump_contains(database: New, backs_up: BacksUp) -> None:
    """The owner of an extension can add a table to it."""
    shop = database(18)
    owner = f"{shop.name}_owner"
    shop.run(
        f"CREATE ROLE {owner}", "CREATE TABLE kept (a int)", 'CREATE TABLE "not kept" (a int)',
        "CREATE TABLE own (a int)", f'ALTER TABLE "not kept" OWNER TO {owner}',
        'ALTER EXTENSION plpgsql ADD TABLE "not kept"', "ALTER EXTENSION plpgsql ADD TABLE own",
    )  # fmt: skip
    staging = backs_up(shop)
    record = staging.take()
    shop.run(f"REASSIGN OWNED BY {owner} TO postgres", f"DROP ROLE {owner}")
    note = 'Not in the set: tables that belong to an extension (public."not kept"); after ALTER EXTENSION'
    assert note in record.sentence
    assert [note in each for each in staging.description().notes] == [True]


def test_a_database_without_tables_is_backed_up(database: New, backs_up: BacksUp) -> None:
    staging = backs_up(database(16))
    assert staging.take().outcome is Outcome.DONE
    assert staging.description().tables == ()
    assert [part.kind for part in staging.manifest().parts] == [
        PartKind.DEFINITIONS,
        PartKind.REST,
        PartKind.ROLES,
        PartKind.DESCRIPTION,
    ]


@pytest.mark.usefixtures("small_streams")
def test_three_thousand_tables_take_seconds(database: New, backs_up: BacksUp) -> None:
    """Each table name in its options slows pg_dump down, so only a few are passed."""
    many = database(16)
    many.run(
        "DO $$ BEGIN FOR n IN 1..2980 LOOP EXECUTE format('CREATE TABLE t%s (a int)', n); END LOOP; END $$",
        "DO $$ BEGIN FOR n IN 1..20 LOOP EXECUTE format('CREATE TABLE big%s AS SELECT md5(m::text) a "
        "FROM generate_series(1, 3000) m', n); END LOOP; END $$",
    )
    staging = backs_up(many, "parallel = 20")
    start = time.monotonic()
    assert staging.take().outcome is Outcome.DONE
    assert time.monotonic() - start < deadline(10)
    description = staging.description()
    assert (len(description.tables), description.rows) == (3000, 60_000)
    assert len(description.table_parts) > 10


def test_a_value_of_two_hundred_megabytes_needs_little_memory(database: New, backs_up: BacksUp) -> None:
    big = database(16)
    big.run("CREATE TABLE long AS SELECT repeat('text 1 ', 28600000) body")
    staging = backs_up(big)
    crew = subprocess.Popen(staging.argv("run", "backup", "staging"), env=staging.process_environment())
    peaks = Peaks(crew.pid)
    assert crew.wait() == 0
    peaks.stop()
    assert staging.manifest().dumped_bytes > 200_000_000
    assert peaks.first < 150 << 20


def test_counts_can_be_disabled(database: New, backs_up: BacksUp) -> None:
    shop = database(16)
    shop.run("CREATE TABLE a AS SELECT 1 a")
    staging = backs_up(shop, "counts = false")
    record = staging.take()
    assert [table.rows for table in staging.description().tables] == [None]
    assert "rows" not in record.figures


def test_a_dry_run_reports_the_plan_and_stores_nothing(database: New, backs_up: BacksUp) -> None:
    shop = database(16)
    shop.run(SHOP)
    staging = backs_up(shop)
    record = staging.take(dry_run=True)
    assert record.outcome is Outcome.DONE
    assert record.sentence.startswith(f"would dump {shop.name}: 23 tables, ")
    assert [entry.key for entry in staging.store.list()] == ["staging/groundcrew.json"]


def test_the_size_of_a_dump_is_estimated(database: New, backs_up: BacksUp) -> None:
    """The time left depends on it. Large objects and long values count, indexes do not."""
    shop = database(16)
    staging = backs_up(shop)
    empty = staging.take(dry_run=True).figures["bytes"]
    shop.run(
        "CREATE TABLE long AS SELECT string_agg(md5(n::text), '') a FROM generate_series(1, 60000) n",
        "CREATE TABLE many AS SELECT n FROM generate_series(1, 60000) n",
        *(f"CREATE INDEX ON many (n, ({number} + n))" for number in range(4)),
        "CREATE MATERIALIZED VIEW again AS SELECT * FROM many",
        "SELECT lo_from_bytea(0, convert_to(string_agg(md5(n::text), ''), 'UTF8')) FROM generate_series(1, 60000) n",
    )
    [(whole,)] = shop.ask("SELECT pg_database_size(current_database())")
    filled = staging.take(dry_run=True).figures["bytes"]
    assert isinstance(empty, int)
    assert isinstance(filled, int)
    assert empty < 2_500_000
    assert 5_500_000 < filled - empty < 8_000_000 < whole - filled


def endpoint_of(database: Database) -> Endpoint:
    parameters = {"host": "127.0.0.1", "port": str(database.server.port), "user": "postgres", "dbname": database.name}
    return Endpoint(parameters, database.password)


def test_a_table_truncated_while_we_wait_for_its_lock_is_dumped_with_its_new_rows(database: New) -> None:
    """A snapshot taken before the lock would see no rows at all, neither the old nor the new ones."""
    shop = database(16)
    shop.run("CREATE TABLE a AS SELECT generate_series(1, 1000) n")
    with shop.connect() as other:
        other.execute("BEGIN")
        other.execute("TRUNCATE a")
        counts: list[int] = []

        def count() -> None:
            with snapshot.export_snapshot(endpoint_of(shop), timedelta(seconds=20)) as exported:
                counts.extend(row[0] for row in exported.connection.execute("SELECT count(*) FROM public.a"))

        waiting = threading.Thread(target=count)
        waiting.start()
        until(lambda: shop.ask("SELECT 1 FROM pg_locks WHERE NOT granted"))
        other.execute("INSERT INTO a SELECT generate_series(1, 5)")
        other.execute("COMMIT")
        waiting.join()
    assert counts == [5]


@pytest.mark.parametrize("change", ["TRUNCATE a", "ALTER TABLE a ADD b int", "DROP TABLE a"])
def test_no_table_can_be_truncated_or_altered_while_the_snapshot_is_open(database: New, change: str) -> None:
    shop = database(16)
    shop.run("CREATE TABLE a AS SELECT generate_series(1, 1000) n")
    with shop.connect() as other, snapshot.export_snapshot(endpoint_of(shop), timedelta(seconds=5)):
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(change)


def test_a_database_whose_tables_are_created_and_dropped_all_the_time_is_backed_up(
    database: New, backs_up: BacksUp
) -> None:
    shop = database(16)
    done = threading.Event()

    def churn() -> None:
        with shop.connect() as other:
            while not done.is_set():
                other.execute("CREATE TABLE passing (a int)")
                other.execute("DROP TABLE passing")
                done.wait(0.05)

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        assert backs_up(shop).take().outcome is Outcome.DONE
    finally:
        done.set()
        churning.join()


def test_a_lock_timeout_names_the_process_that_holds_the_lock(database: New, backs_up: BacksUp) -> None:
    shop = database(16)
    shop.run('CREATE TABLE "my orders" (a int)')
    staging = backs_up(shop, 'limits = { lock = "1s" }')
    with shop.connect(application_name="deploy") as other:
        other.execute("BEGIN")
        other.execute('LOCK TABLE "my orders" -- secret')
        record = staging.take()
        pid = other.info.backend_pid
    assert record.outcome is Outcome.FAILED
    assert 'waited 1 s for a lock: table public."my orders" is locked by process' in record.sentence
    assert f"process {pid} of postgres (deploy), in a transaction since " in record.sentence
    assert f"SELECT pg_terminate_backend({pid})" in record.sentence
    assert "secret" not in record.sentence
    assert staging.sets() == []


def test_the_error_of_a_role_without_enough_privileges_lists_them(database: New, tmp_path: Path) -> None:
    shop = database(16)
    role = shop.name
    shop.run(
        "CREATE TABLE a AS SELECT 1 a",
        "CREATE TABLE b (a int)",
        "ALTER TABLE b ENABLE ROW LEVEL SECURITY",
        "SELECT lo_create(1)",
        f"CREATE ROLE {role} LOGIN PASSWORD '{shop.password}'",
        f"GRANT SELECT ON b TO {role}",
    )
    staging = team(tmp_path, section("shop", shop.url.replace("postgres@", f"{role}@")))
    needs = "; a backup role needs to read every table"
    try:
        assert f"permission denied for table a{needs}" in staging.take().sentence
        output = staging.crew("check", "staging").stdout
        assert "public.a can't be read, public.b has row security, which hides rows, 1 large objects can't" in output

        shop.run(f"GRANT SELECT ON a TO {role}")
        record = staging.take()
        assert "row-level security" in record.sentence or "large object" in record.sentence
        assert needs in record.sentence

        shop.run(f"ALTER ROLE {role} BYPASSRLS", f"GRANT SELECT ON LARGE OBJECT 1 TO {role}")
        assert staging.take().outcome is Outcome.DONE
        assert "0 faults" in staging.crew("check", "staging").stdout
        assert "The roles were saved without passwords" in staging.description().notes[0]
        roles = staging.part("roles").decode()
        assert f"CREATE ROLE {role};" in roles
        assert "PASSWORD" not in roles
    finally:
        shop.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_standby_can_be_backed_up_and_the_set_notes_its_empty_tables(
    postgres: Callable[[int], Server], tmp_path: Path
) -> None:
    with servers.start(16, tmp_path) as primary:
        with primary.connect() as connection:
            connection.execute(SHOP)
            connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")
        urls = {"shop": primary.url(), "other": postgres(16).url(), "closed": "postgresql://127.0.0.1:1/postgres"}
        with standby_of(primary, tmp_path) as url:
            (tmp_path / "team").mkdir()
            sections = [section(name, of_primary, f'standby = "{url}"') for name, of_primary in urls.items()]
            staging = team(tmp_path / "team", "".join(sections))
            until(lambda: staging.take("shop", dry_run=True).sentence.endswith("; from the standby"))
            record = staging.take("shop")
            without_primary = staging.take("closed", dry_run=True).sentence
            of_other = staging.take("other", dry_run=True).sentence
            checked = staging.crew("check", "staging").stdout
        description = staging.description()
        fallen_back = staging.take("shop", dry_run=True).sentence
        assert "; from the primary, because the standby can't be used: " in fallen_back, fallen_back
    assert record.sentence.endswith("; from the standby"), record.sentence
    assert "; from the standby, which was not compared with its primary: " in without_primary, without_primary
    assert of_other.endswith("can't be used: it is a standby of another server than `url` names"), of_other
    assert re.search(r"streams from its primary, \d+ s behind\n", checked), checked
    assert "it is a standby of another server than `url` names" in checked, checked
    assert staging.manifest().server.standby
    assert description.notes == (
        'Unlogged tables are empty, because the set was taken from a standby: "public"."passing".',
    )
    assert {table.name: table.rows for table in description.tables}["passing"] == 0
    assert {table.name: table.rows for table in description.tables}["orders"] == 4000


@contextmanager
def standby_of(primary: Server, folder: Path) -> Iterator[str]:
    """Yield the URL of a hot standby."""
    bin_folder, home, port = primary.running.programs, folder / "standby", embedded.free_port()
    home.mkdir()
    account = _postgres._account("postgres", "nobody")
    _postgres._change_owner(home, account)
    as_account = _postgres._as_account(account, bin_folder, home, trusted=True)
    subprocess.run(
        [*as_account, bin_folder / "pg_basebackup", "-R", "-D", home / "data",
         "-d", primary.url(), "-c", "fast"],
        env=primary.environment, check=True,
    )  # fmt: skip
    settings = {"fsync": "off", "primary_conninfo": f"{primary.url()}?password={primary.password.replace(' ', '%20')}"}
    argv = _postgres.server_command(bin_folder, home / "data", home, port, tcp=True, settings=settings)
    with embedded.start_program(
        "standby", [*as_account, *argv], home / "log", environment=_postgres.minimal_environment()
    ) as program:
        program.wait_until(lambda: _postgres._is_ready(home / "data"))
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


def test_every_database_of_a_server_is_backed_up_except_excluded_ones(
    postgres: Callable[[int], Server], database: New, tmp_path: Path
) -> None:
    plain, odd = database(16), database(16, "it's / äny")
    database(16, "scratch 1")
    server = postgres(16)
    others = [name for (name,) in plain.ask("SELECT datname FROM pg_database") if name not in (plain.name, odd.name)]
    exclude = f"exclude = {[*(name for name in others if name != 'scratch 1'), 'scratch*']}".replace("'", '"')
    staging = team(tmp_path, section("main", server.url(), exclude, kind="servers"))

    records = staging.take_all()

    assert {record.subject for record in records} == {f"main.{plain.name}", "main.it%27s%20%2F%20%C3%A4ny"}
    assert {record.outcome for record in records} == {Outcome.DONE}
    assert staging.description("main.it%27s%20%2F%20%C3%A4ny").settings.owner == "postgres"


def test_an_unreachable_server_has_a_failed_run(tmp_path: Path) -> None:
    staging = team(tmp_path, section("main", "postgresql://me@127.0.0.1:1/postgres", kind="servers"))
    record = staging.take()
    assert (record.subject, record.outcome) == ("main", Outcome.FAILED)
    assert "Connection refused" in record.sentence


def test_a_failed_database_does_not_stop_the_others(database: New, tmp_path: Path) -> None:
    good, other = database(16), database(16)
    body = section("a", good.url) + section("b", good.url + "_gone") + section("c", other.url)
    records = team(tmp_path, body).take_all()
    assert [(r.subject, r.outcome) for r in records] == [
        ("a", Outcome.DONE), ("b", Outcome.FAILED), ("c", Outcome.DONE),
    ]  # fmt: skip
    assert "does not exist" in records[1].sentence


def test_a_set_that_shrank_is_a_finding_once(database: New, backs_up: BacksUp) -> None:
    shop = database(16)
    shop.run("CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n")
    staging = backs_up(shop)
    assert [staging.take().outcome for _ in range(2)] == [Outcome.DONE, Outcome.DONE]

    shop.run("DELETE FROM orders WHERE n > 9")
    ended = staging.crew("run", "backup", "staging")
    assert ended.returncode == 2, ended
    assert "; it shrank: 9 rows after 20,000 and " in ended.stdout
    [shrunk, *_] = records(staging.store, "staging", "backup", "shop")
    assert shrunk.notice
    assert "crew backups pin staging shop --set ID" in shrunk.notice.text
    assert staging.sets()[-1].complete

    record = staging.take()
    assert (record.outcome, record.notice) == (Outcome.DONE, None), record.sentence


def test_a_set_of_another_server_is_a_finding_once(
    database: New, backs_up: BacksUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = backs_up(database(16))
    assert [staging.take().outcome for _ in range(2)] == [Outcome.DONE, Outcome.DONE]
    monkeypatch.setenv("GROUNDCREW__DATABASES__SHOP__URL", database(15).url)
    record = staging.take()
    assert record.outcome is Outcome.FINDING
    assert record.sentence.endswith("; it comes from another PostgreSQL server than the set before it")
    assert staging.take().outcome is Outcome.DONE


def test_a_shrinking_set_is_no_finding_if_that_is_off(database: New, backs_up: BacksUp) -> None:
    shop = database(16)
    shop.run("CREATE TABLE orders AS SELECT n FROM generate_series(1, 2000) n")
    staging = backs_up(shop, 'shrink = "off"')
    staging.take()
    shop.run("TRUNCATE orders")
    assert staging.take().outcome is Outcome.DONE


@pytest.mark.usefixtures("small_streams")
def test_one_program_dumps_a_database_that_was_small_although_it_has_a_big_table(
    repository: Repository, database: New
) -> None:
    shop = database(16)
    shop.run("CREATE TABLE grown AS SELECT n, repeat('x', 1000) FROM generate_series(1, 200) n")
    names = [f"shop-{number}" for number in range(MANY_SUBJECTS)]
    repository.environment(text="".join(repository.section(name, shop, "parallel = 4") for name in names))
    # The first run does not know yet how big they are.
    for expected in ({"defs", "rows-1-1", "rest", "roles", "description"}, {"defs", "rest", "roles", "description"}):
        result = repository.crew("run", "backup", "staging")
        assert result.code == 0, result
        taken = re.findall(r"set (\S+)", result.out)
        parts = [{piece.stem for piece in repository.pieces(each)} for each in taken]
        assert parts == [expected] * len(names)
