"""Verifications of a stanza: the real pgBackRest, a real server, and a cluster that brings hostile settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.crew import CrewResult, Repository
from tests.parts.needs import needs
from tests.parts.pgbackrest import CIPHER, Archiving, archiving
from tests.parts.postgres import DISTRIBUTION

MAJOR = max(DISTRIBUTION, default=0)
SCRIPT = (
    "SELECT id AS without_note FROM orders WHERE note IS NULL; SELECT 1 WHERE current_setting('is_superuser') = 'on';"
)
# A server that obeyed one of these would not start, would not accept a login, or would wait for ever.
HOSTILE = {
    "shared_preload_libraries": "nowhere",
    "session_preload_libraries": "nowhere",
    "restore_command": "sleep 3600",
    "archive_command": "sleep 3600",
    "recovery_target_time": "2001-01-01",
}


@pytest.fixture(scope="module")
def main() -> Iterator[Archiving]:
    """A server with a database, a tablespace and a backup."""
    with archiving(MAJOR) as server:
        space = server.folder / "space"
        space.mkdir()
        server.give(space)
        server.run(f"CREATE TABLESPACE fast LOCATION '{space}'", "CREATE DATABASE shop")
        server.run(
            'CREATE TABLE orders (id int PRIMARY KEY, note text COLLATE "C")',
            "CREATE TABLE lines (id int) TABLESPACE fast",
            "INSERT INTO lines SELECT generate_series(1, 500)",
            "INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 20000) n",
            database="shop",
        )
        server.call("backup")
        closed = server.folder / "closed"  # as the spool path of Debian's package, which belongs to postgres
        closed.mkdir(0o000)
        server.config.write_text(
            server.config.read_text().replace(f"={server.folder / 'spool'}", f"={closed / 'spool'}")
        )
        yield server


@pytest.fixture
def repository(tmp_path: Path, main: Archiving) -> Repository:
    made = Repository(tmp_path)
    script = tmp_path / "inventories/verify/shop.sql"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    made.environment(
        text=f'[pitr.main]\nstanza = "main"\nconfig = "{main.config}"\nverify_with = {{ shop = "verify/shop.sql" }}\n'
    )
    return made


def verify(repository: Repository, *options: str) -> CrewResult:
    return repository.crew("run", "verify", "staging", "--only", "main", "--json", *options)


@needs("pgbackrest", "bwrap")
def test_a_stanza_is_restored_to_its_latest_moment(repository: Repository, main: Archiving) -> None:
    """Rows that only WAL has are there. Nothing that the cluster's own settings name is executed."""
    main.run("INSERT INTO orders SELECT n, 'later' FROM generate_series(20001, 20010) n", database="shop")
    settings = "".join(f"{name} = '{value}'\n" for name, value in HOSTILE.items())
    written = main.server.running.data / "postgresql.auto.conf"
    written.write_text(settings)
    main.call("--type=incr", "backup")
    main.run("INSERT INTO lines VALUES (0)", database="shop")
    main.archive()
    plan = verify(repository, "--dry-run").json["runs"][0]["sentence"]
    assert plan.startswith("would restore backup 20")
    ended = verify(repository)
    [run] = ended.json["runs"]
    assert (ended.code, run["subject"], run["outcome"]) == (0, "pitr.main", "done"), ended
    figures = run["figures"]
    assert (figures["databases"], figures["tables"], figures["rows"]) == (2, 2, 20511), figures
    assert 0 < figures["recovery_seconds"] < run["seconds"]
    assert 0 <= figures["recovery_point_seconds"] < 600
    assert figures["reachable_since_timestamp_seconds"] < figures["reachable_until_timestamp_seconds"]
    [listed] = repository.crew("backups", "list", "staging", "--json").json["pitr"]
    assert (listed["from"], listed["backups"], listed["why_unknown"]) == ("repository", 2, "")
    assert listed["since"] < listed["until"]
    assert (listed["recovery_seconds"], bool(listed["verified"])) == (figures["recovery_seconds"], True)
    checks = {each["check"]: each for each in repository.crew("check", "staging", "--json").json["checks"]}
    assert checks["pitr main"]["verdict"] == "ok", checks
    records = "".join(file.read_text() for file in repository.store.rglob("*.json"))
    assert CIPHER not in records + ended.err + ended.out


@pytest.mark.long
@needs("pgbackrest", "bwrap", "extension-amcheck")
def test_damage_and_rows_of_a_script_are_findings(repository: Repository, main: Archiving) -> None:
    """pg_amcheck names the damaged index, and rows of the team's script stay out of records and logs."""
    main.run("UPDATE orders SET note = NULL WHERE id = 5", "CHECKPOINT", database="shop")
    with main.server.connect("shop") as connection:
        [path] = connection.execute("SELECT pg_relation_filepath('orders_pkey')").fetchone() or ("",)
    with (main.server.running.data / path).open("r+b") as index:
        index.seek(8192 + 8000)  # the items of the first leaf page
        index.write(b"\x7f" * 64)
    main.call("--type=full", "backup")
    ended = repository.crew("backups", "verify", "staging", "pitr.main", "--json")
    [run] = ended.json["runs"]
    assert (ended.code, run["outcome"]) == (2, "finding"), ended
    [of_script] = [each for each in ended.json["differences"]["pitr.main"] if each["kind"] == "statement"]
    assert of_script["rows"] == ["without_note=5"]
    records = "".join(file.read_text() for file in repository.store.rglob("*.json"))
    assert "without_note" not in records + ended.err
    assert 'amcheck btree index "shop.public.orders_pkey"' in run["sentence"]
    assert "statement 1 of verify/shop.sql: 0 rows expected, 1 rows found" in run["sentence"]
    assert run["figures"]["differences"] == 2


@needs("pgbackrest", "bwrap")
def test_what_is_wrong_is_said(repository: Repository, main: Archiving) -> None:
    file = repository.root / "inventories/staging.toml"
    text = file.read_text()
    other = main.folder / "other.conf"
    other.write_text(main.config.read_text().replace(CIPHER, "an0ther-cipher-of-these-tests"))
    garbled = main.folder / "garbled.conf"
    garbled.write_text(other.read_text().replace("cipher-pass=", "cipher-pass: "))
    main.give(other)
    main.give(garbled)
    for change, expected in (
        ((str(main.config), str(other)), "repository 1 of stanza main: it can't be decrypted; is the key in its"),
        ((str(main.config), str(garbled)), "ERROR: [029]: missing '=' in key/value at line"),
        ((str(main.config), "/nowhere"), "/nowhere: No such file or directory; write there which repository"),
        (('stanza = "main"', 'stanza = "mian"'), "repository 1 of stanza mian: missing stanza path"),
        (('stanza = "main"', 'stanza = "main"\nrepository = 2'), "its configuration has no repository 2; it has: 1"),
    ):
        file.write_text(text.replace(*change))
        ended = verify(repository)
        assert ended.code == 1, ended
        assert expected in ended.json["runs"][0]["sentence"]
        assert "an0ther-cipher" not in json.dumps(ended.json) + ended.err
    file.write_text(text)
    unknown = repository.crew("run", "verify", "staging", "--only", "pitr.mian")
    assert (unknown.code, "there is no stanza pitr.mian; there are: pitr.main" in unknown.err) == (64, True)
