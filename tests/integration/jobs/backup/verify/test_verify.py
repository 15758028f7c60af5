"""Sets are verified by restoring them; what does not hold, or can't be told, is said as what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.backup.postgres import programs
from jobs.backup.verify.scratch import sweep
from tests.parts.crew import Repository, flip
from tests.parts.needs import majors
from tests.parts.postgres import Database, Server

Shop = Callable[..., Database]


def verifications(repository: Repository, taken: str) -> dict[str, Any]:
    found = repository.store.glob(f"*/backups/*/{taken}/*.json")
    return {path.name: json.loads(path.read_bytes()) for path in found if path.name != "manifest.json"}


def rewrite(repository: Repository, taken: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Have the manifest of a set promise something else."""
    [path] = repository.store.glob(f"*/backups/*/{taken}/manifest.json")
    body = json.loads(path.read_bytes())
    change(body)
    path.chmod(0o644)
    path.write_text(json.dumps(body))


@majors(13, 14, 15, 18)
def test_the_newest_set_is_verified_then_the_one_before(major: int, repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(major)))
    older, newer = repository.backup(), repository.backup()
    for taken in (newer, older):
        said = repository.crew("run", "verify", "staging")
        assert said.code == 0, said
        assert f"set {taken} is verified" in said.out
        [(name, verification)] = verifications(repository, taken).items()
        assert (name, verification["set"], verification["differences"]) == ("verified.json", taken, [])
        assert verification["against"]["major"] == major
    assert "2 sets are verified already" in repository.crew("run", "verify", "staging").out


def test_what_differs_is_a_table_and_exit_2(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()

    def promise_more(body: dict[str, Any]) -> None:
        next(table for table in body["tables"] if table["name"] == "orders")["rows"] = 4001
        body["tables"].append({"schema": "public", "name": "ghost", "rows": 1, "bytes": 0})
        next(one for one in body["sequences"] if one["name"] == "invoice_number")["last"] = 9999

    rewrite(repository, taken, promise_more)
    said = repository.crew("backups", "verify", "staging", "shop")
    assert said.code == 2, said
    lines = [line.split() for line in said.out.splitlines()[1:]]
    assert ["table", "public.orders", "4,001", "4,000"] in lines
    assert ["table", "public.ghost", "1", "not", "there"] in lines
    assert ["sequence", "public.invoice_number", "9,999", "5,030"] in lines
    assert list(verifications(repository, taken)) == ["verification-failed.json"]
    told = repository.crew("backups", "verify", "staging", "shop", "--json").json["differences"]["shop"]
    assert {"kind": "table", "name": "public.ghost", "promised": 1, "found": None} in told
    assert repository.crew("run", "verify", "staging").code == 2, "it stays the newest that is not verified"
    assert repository.crew("run", "verify", "staging", "--json").json["runs"][0]["figures"]["differences"] == 3


def test_a_flipped_byte_is_exit_1_and_says_where(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    flip(next(piece for piece in repository.pieces(taken) if piece.stem == "rest"))
    said = repository.crew("backups", "verify", "staging", "shop", "--set", taken[-4:])
    assert said.code == 1
    assert f"part rest of set {taken} of staging/shop is damaged" in said.out
    assert "part rest" in verifications(repository, taken)["verification-failed.json"]["damage"]


def test_an_extension_that_no_server_has_is_cannot_verify_either_way(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    rewrite(
        repository,
        taken,
        lambda body: body["extensions"].append({"name": "postgis", "version": "3", "schema": "public"}),
    )
    said = repository.crew("run", "verify", "staging")
    assert said.code == 1
    assert "lacks the extension postgis; install postgresql-15-postgis-3" in said.out
    assert verifications(repository, taken) == {}


def test_without_the_locale_the_verification_is_taken_all_the_same(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    rewrite(repository, taken, lambda body: body["settings"].update(collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8"))
    said = repository.crew("run", "verify", "staging")
    assert said.code == 0, said
    assert "restored with locale C, since the scratch server said" in said.out
    assert "xx_XX" in str(verifications(repository, taken)["verified.json"]["notes"])


def test_space_is_asked_for_first(repository: Repository, shop: Shop) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    taken = repository.backup()
    rewrite(repository, taken, lambda body: body["parts"][0].update(dumped=10**15))
    said = repository.crew("run", "verify", "staging")
    assert said.code == 1
    assert "a verification wants 2000000.0 GB free in" in said.out
    assert verifications(repository, taken) == {}


def test_a_server_that_is_named_is_left_as_it_was(
    repository: Repository, shop: Shop, postgres: Callable[[int], Server]
) -> None:
    scratch = postgres(18)

    def all_of_it() -> list[Any]:
        with scratch.connect() as there:
            return there.execute("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles").fetchall()

    before = all_of_it()
    origin = shop(16)
    verify = f'[verify]\nscratch = "{scratch.url()}"\npassword = {{ file = "{repository.password(origin)}" }}\n'
    repository.environment(text=repository.section("shop", origin) + verify)
    taken = repository.backup()
    said = repository.crew("run", "verify", "staging")
    assert said.code == 0, said
    assert verifications(repository, taken)["verified.json"]["against"] == {"major": 18, "where": "127.0.0.1"}
    assert sorted(all_of_it()) == sorted(before)


def test_told_to_end_it_leaves_no_server_and_no_folder(repository: Repository, shop: Shop, tmp_path: Path) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    repository.backup()
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o755)
    running = repository.start("run", "verify", "staging", env={**os.environ, "TMPDIR": str(scratch)})
    wait_until(lambda: any(scratch.glob("*/postgres-*/data/postmaster.pid")))
    [data] = scratch.glob("*/postgres-*/data")
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 1, (out, err)
    assert "SIGTERM" in out
    assert list(scratch.iterdir()) == []
    assert str(data) not in subprocess.run(["ps", "ax"], capture_output=True, text=True, check=True).stdout


def test_what_a_killed_verification_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "groundcrew-scratch-999999999-abc/postgres-x/data").mkdir(parents=True)
    (tmp_path / f"groundcrew-scratch-{os.getpid()}-abc").mkdir()
    (tmp_path / "groundcrew-scratch-notes").mkdir()
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"groundcrew-scratch-{os.getpid()}-abc", "groundcrew-scratch-notes"}


def test_a_servers_databases_are_verified_by_its_name(repository: Repository, shop: Shop) -> None:
    origin = shop(15)
    server = f'[servers.main]\nurl = "{origin.server.url()}"\npassword = {{ file = "{repository.password(origin)}" }}\n'
    repository.environment(text=server)
    repository.backup(f"main.{origin.name}")
    said = repository.crew("run", "verify", "staging", "--only", "main")
    assert (said.code, f"verify main.{origin.name}" in said.out, "is verified" in said.out) == (0, True, True), said


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_no_server_programs_at_all(repository: Repository, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    repository.backup()
    found = programs.installed
    monkeypatch.setattr(programs, "installed", lambda name: () if name == "initdb" else found(name))
    said = repository.crew("run", "verify", "staging")
    assert said.code == 1
    assert "install postgresql-15, or name a scratch server" in said.out
