"""Verify backup sets: success, differences, damage, and a machine that cannot verify."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.backup.postgres import programs
from jobs.backup.verify.scratch import remove_abandoned_folders
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors
from tests.parts.patience import deadline, until
from tests.parts.postgres import Database, Server
from tests.parts.processes import all_command_lines
from tests.parts.rewriting import rewrite_description, rewrite_manifest

Shop = Callable[..., Database]


@majors(13, 14, 15, 18)
def test_verifies_the_newest_set_then_the_one_before(major: int, repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(major)))
    older, newer = repository.backup(), repository.backup()
    for taken in (newer, older):
        ended = repository.crew("run", "verify", "staging")
        assert ended.code == 0, ended
        assert f"set {taken} is verified" in ended.out
        [(outcome, verification)] = repository.results(taken).items()
        assert (outcome, verification["set"], verification["differences"]) == ("passed", taken, 0)
        assert verification["against"]["major"] == major
    assert "2 sets are verified already" in repository.crew("run", "verify", "staging").out


def test_prints_differences_as_a_table_and_exits_2(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()

    def expect_more(body: dict[str, Any]) -> None:
        next(table for table in body["tables"] if table["name"] == "orders")["rows"] = 4001
        body["tables"].append({"schema": "public", "name": "ghost", "rows": 1, "bytes": 0})
        body["sequences"].append({"schema": "public", "name": "ghost_ids", "last": 9999})

    rewrite_description(repository.folder(taken), repository.identity, expect_more)
    ended = repository.crew("backups", "verify", "staging", "shop")
    assert ended.code == 2, ended
    lines = [line.split() for line in ended.out.splitlines()[1:]]
    assert ["table", "public.orders", "4,001", "4,000"] in lines
    assert ["table", "public.ghost", "1", "missing"] in lines
    assert ["sequence", "public.ghost_ids", "9,999", "missing"] in lines
    assert list(repository.results(taken)) == ["failed"]
    assert "orders" not in str(repository.results(taken)), "results are stored in clear"
    differences = repository.crew("backups", "verify", "staging", "shop", "--json").json["differences"]["shop"]
    assert {"kind": "table", "name": "public.ghost", "expected": 1, "found": None, "rows": []} in differences
    assert repository.crew("run", "verify", "staging").code == 2, "it is still the newest set that is not verified"
    assert repository.crew("run", "verify", "staging", "--json").json["runs"][0]["figures"]["differences"] == 3


def test_names_a_damaged_part_and_exits_1(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    flip(next(piece for piece in repository.pieces(taken) if piece.stem == "rest"))
    ended = repository.crew("backups", "verify", "staging", "shop", "--set", taken[-4:])
    assert ended.code == 1, ended
    assert f"part rest of set {taken} of staging/shop is damaged" in ended.out
    assert "part rest" in repository.results(taken)["failed"]["damage"]


def test_the_newest_result_counts_whatever_the_times_of_the_objects(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    piece = next(piece for piece in repository.pieces(taken) if piece.stem == "rest")
    seen = []
    for code in (1, 0, 1):
        flip(piece)
        ended = repository.crew("backups", "verify", "staging", "shop", "--set", taken)
        assert ended.code == code, ended
        before = repository.crew("backups", "list", "staging", "--json").json["sets"]
        for number, file in enumerate(repository.store.glob(f"*/backups/*/{taken}/**/*")):
            os.utime(file, (1_000_000_000 + number, 1_000_000_000 + number))
        [listed] = repository.crew("backups", "list", "staging", "--json").json["sets"]
        assert [listed] == before
        seen.append((listed["verified"] is not None, listed["verification_failed"] is not None))
        assert ("failed" if code else "passed") in repository.results(taken)
    assert seen == [(False, True), (True, False), (False, True)]
    assert "VERIFICATION FAILED" in repository.crew("backups", "list", "staging").out


def test_without_an_extension_the_set_is_neither_verified_nor_failed(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    absent = {"name": "absent", "version": "1", "schema": "public"}
    rewrite_description(repository.folder(taken), repository.identity, lambda body: body["extensions"].append(absent))
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 1, ended
    assert "lacks the extension absent; install postgresql-15-absent" in ended.out
    assert repository.results(taken) == {}


def test_verifies_with_locale_c_if_the_locale_is_missing(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    rewrite_description(
        repository.folder(taken),
        repository.identity,
        lambda body: body["settings"].update(collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8"),
    )
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 0, ended
    assert "restored with locale C, because the scratch server says" in ended.out
    assert list(repository.results(taken)) == ["passed"]


def test_refuses_to_verify_without_enough_space(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    rewrite_manifest(repository.folder(taken), lambda body: body["parts"][0].update(dumped=10**15))
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 1, ended
    assert "a verification needs 2000000.0 GB free in" in ended.out
    assert repository.results(taken) == {}


def test_a_configured_scratch_server_is_unchanged_afterwards(
    repository: Repository, shop: Shop, postgres: Callable[[int], Server]
) -> None:
    scratch = postgres(18)

    def names() -> list[Any]:
        with scratch.connect() as connection:
            return connection.execute("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles").fetchall()

    before = names()
    origin = shop(16)
    verify = f'[verify]\nscratch = "{scratch.url()}"\npassword = {{ file = "{repository.password(origin)}" }}\n'
    repository.environment(text=repository.section("shop", origin) + verify)
    taken = repository.backup()
    refused = repository.crew("run", "verify", "staging")
    assert refused.code == 1, refused
    assert "does not mean that it is damaged): a role without superuser rights cannot restore this set" in refused.out
    assert "as_superuser = true in [verify] lets functions of the set run as postgres" in refused.out
    repository.environment(text=repository.section("shop", origin) + verify + "as_superuser = true\n")
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 0, ended
    assert repository.results(taken)["passed"]["against"] == {"major": 18, "where": "127.0.0.1"}
    assert "functions of the set ran as postgres, a superuser of the scratch server" in ended.out
    assert sorted(names()) == sorted(before)


@pytest.mark.parametrize(("major", "warns"), [(15, True), (18, False)])
def test_a_role_without_superuser_rights_verifies_on_a_configured_server(
    repository: Repository,
    database: Callable[[int], Database],
    postgres: Callable[[int], Server],
    major: int,
    warns: bool,
) -> None:
    """Before PostgreSQL 16, CREATEROLE can grant every predefined role."""
    scratch, origin = postgres(major), database(15)
    origin.run("CREATE TABLE orders AS SELECT generate_series(1, 10) AS id", "CREATE INDEX ON orders (id)")
    origin.run("CREATE MATERIALIZED VIEW ids AS SELECT id FROM orders")
    origin.run("ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    with scratch.connect() as server:
        server.execute(f"CREATE ROLE verifier LOGIN CREATEDB CREATEROLE PASSWORD '{origin.password}'")
    url = scratch.url().replace("postgres@", "verifier@")
    verify = f'[verify]\nscratch = "{url}"\npassword = {{ file = "{repository.password(origin)}" }}\n'
    repository.environment(text=repository.section("shop", origin) + verify)
    repository.backup()
    ended = repository.crew("run", "verify", "staging")
    with scratch.connect() as server:
        server.execute("DROP ROLE verifier")
    assert ended.code == 0, ended
    assert "is verified" in ended.out
    assert "superuser" not in ended.out
    warning = "ran as verifier, which can grant itself the right to run programs on a scratch server of PostgreSQL 15"
    assert (warning in ended.out) == warns


def test_a_stopped_verification_leaves_no_server_and_no_folder(
    repository: Repository, shop: Shop, tmp_path: Path
) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    repository.backup()
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o755)
    running = repository.start("run", "verify", "staging", env={**os.environ, "TMPDIR": str(scratch)})
    until(lambda: any(scratch.glob("*/postgres-*/scratch/data/postmaster.pid")))
    [data] = scratch.glob("*/postgres-*/scratch/data")
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=deadline(30))
    assert running.returncode == 1, (out, err)
    assert "SIGTERM" in out
    assert list(scratch.iterdir()) == []
    assert str(data.parent) not in all_command_lines()


def test_removes_folders_of_killed_verifications(tmp_path: Path) -> None:
    (tmp_path / "groundcrew-scratch-999999999-abc/postgres-x/data").mkdir(parents=True)
    (tmp_path / f"groundcrew-scratch-{os.getpid()}-abc").mkdir()
    (tmp_path / "groundcrew-scratch-notes").mkdir()
    remove_abandoned_folders(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"groundcrew-scratch-{os.getpid()}-abc", "groundcrew-scratch-notes"}


def test_what_hostile_code_leaves_does_not_block_the_next_verification(tmp_path: Path) -> None:
    """It can leave a tree that is deeper than Python's recursion limit. Other users can leave links."""
    deep = tmp_path / "groundcrew-scratch-999999999-deep"
    deep.mkdir()
    script = "for number in $(seq 1200); do mkdir d && cd d || exit 1; done"
    subprocess.run(["sh", "-c", script], cwd=deep, check=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "groundcrew-scratch-999999998-link").symlink_to(tmp_path / "kept")
    (tmp_path / "groundcrew-scratch-999999997-link").symlink_to("/nonexistent")
    remove_abandoned_folders(tmp_path)
    assert not deep.exists()
    assert (tmp_path / "kept").exists()


def test_verifies_the_databases_of_a_server_by_its_name(repository: Repository, shop: Shop) -> None:
    origin = shop(15)
    server = f'[servers.main]\nurl = "{origin.server.url()}"\npassword = {{ file = "{repository.password(origin)}" }}\n'
    repository.environment(text=server)
    repository.backup(f"main.{origin.name}")
    ended = repository.crew("run", "verify", "staging", "--only", "main")
    assert ended.code == 0, ended
    assert f"verify main.{origin.name}" in ended.out
    assert "is verified" in ended.out


def test_names_the_package_to_install_without_server_programs(
    repository: Repository, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    repository.backup()
    installed = programs.installed_clients
    monkeypatch.setattr(programs, "installed_clients", lambda name: () if name == "initdb" else installed(name))
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 1, ended
    assert "install postgresql-15, or name a scratch server" in ended.out
