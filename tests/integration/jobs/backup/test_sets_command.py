"""`crew backups list, show, fetch, pin, unpin` on real sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.run.lease import Holder, holder_to
from jobs.store import StoredObject
from jobs.store.directory import DirectoryStore
from tests.parts.backups import Team
from tests.parts.postgres import Database

BacksUp = Callable[..., Team]


@dataclass(frozen=True)
class Output:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Crew = Callable[..., Output]


@pytest.fixture
def staging(database: Callable[..., Database], backs_up: BacksUp) -> Team:
    """A database with one set."""
    shop = database(16)
    shop.run("CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n")
    team = backs_up(shop, "keep = { daily = 1 }")
    team.take(tags=("v1",))
    return team


@pytest.fixture
def crew(staging: Team, capfdbinary: pytest.CaptureFixture[bytes]) -> Crew:
    """Call `crew backups …` in this process."""

    def call(command: str, *args: str) -> Output:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["--root", str(staging.folder), "backups", command, "staging", *args])
        out, err = capfdbinary.readouterr()
        return Output(int(exited.value.code or 0), out, err.decode())

    return call


def test_the_list_opens_no_set(staging: Team, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    [old] = (each.id for each in staging.sets())
    staging.take()
    [new] = {each.id for each in staging.sets()} - {old}
    real, opened = DirectoryStore.get, list[str]()

    def get(store: DirectoryStore, key: str, *limits: int) -> StoredObject:
        opened.append(key)
        return real(store, key, *limits)

    monkeypatch.setattr(DirectoryStore, "get", get)
    lines = crew("list").text.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["shop", new], ["shop", old]]
    assert lines[1].endswith("newest, daily")
    assert "v1" in "".join(lines)
    [first, second] = json.loads(crew("list", "shop", "--json").out)["sets"]
    assert first["kept_by"].startswith("newest")
    assert {first["state"], second["state"]} == {"complete"}
    assert first["stored_bytes"] > 0
    assert not first["pinned"]
    assert set(opened) == {"staging/groundcrew.json"}


def test_dead_and_running_sets_are_listed_apart(staging: Team, crew: Crew) -> None:
    now = datetime.now(UTC)
    dead, live = (f"{at:%Y%m%dT%H%M%SZ}-0001" for at in (now - timedelta(hours=2), now + timedelta(seconds=1)))
    for each in (dead, live):
        staging.store.put(f"staging/backups/shop/{each}/rest.0", b"x" * 2000)
    holder = Holder("r1", "runner-1", 7, now, 60.0)
    staging.store.put("staging/locks/backup/shop.json", holder_to(holder))
    out = crew("list").text
    assert out.index("In progress:") < out.index(live) < out.index("left by failed runs") < out.index(dead)
    states = {each["set"]: each["state"] for each in json.loads(crew("list", "--json").out)["sets"]}
    assert states[dead] == "incomplete"
    assert states[live] == "running"


def test_show_prints_one_set(staging: Team, crew: Crew) -> None:
    out = crew("show", "shop").text
    assert "PostgreSQL 16." in out
    assert "1 table, 1,000 rows" in out
    assert "public.orders" in out
    shown = json.loads(crew("show", "shop", "--json").out)["manifest"]
    assert shown["set"] == staging.manifest().set


def test_a_pinned_set_is_kept_until_it_is_unpinned(staging: Team, crew: Crew) -> None:
    assert "is pinned" in crew("pin", "shop").text
    assert "pinned" in crew("list").text
    assert "is unpinned" in crew("unpin", "shop").text
    assert "pinned" not in crew("list").text
    taken = staging.manifest().set
    for command, pinned in (("pin", True), ("unpin", False)):
        printed = json.loads(crew(command, "shop", "--json").out)
        assert printed == {"format": 1, "database": "shop", "set": taken, "pinned": pinned}
    output = crew("unpin", "shop")
    assert output.code == 1, output
    assert output.err == "shop: there is no pinned backup set\n"


def test_a_fetched_part_is_readable_for_its_owner_only(
    staging: Team, crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert crew("fetch", "shop", "rest", "--to", "-").out == staging.part("rest")
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    fetched = crew("fetch", "shop", "roles")
    assert fetched.code == 0, fetched
    assert "is not encrypted; delete it when you no longer need it" in fetched.err
    [file] = folder.iterdir()
    assert file.name == f"shop-{staging.manifest().set}-roles.sql"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == staging.part("roles")
    assert "exists already" in crew("fetch", "shop", "roles").err
    assert "has no part data-9; it has defs, rest, roles" in crew("fetch", "shop", "data-9").err


def test_a_damaged_part_leaves_no_file(staging: Team, crew: Crew, tmp_path: Path) -> None:
    [backup_set] = staging.sets()
    stored = staging.folder / "store" / backup_set.prefix / "rest.0"
    body = bytearray(stored.read_bytes())
    body[-20] ^= 1
    stored.write_bytes(body)
    output = crew("fetch", "shop", "rest", "--to", str(tmp_path / "rest"))
    assert output.code == 1, output
    assert f"part rest of set {backup_set.id} of staging/shop is damaged" in output.err
    assert not (tmp_path / "rest").exists()


def test_a_mistyped_name_is_wrong_usage(staging: Team, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    before = list(staging.store.list())
    unknown = "staging: there is no database shpo; there are: shop"
    mistyped = dict.fromkeys((
        *("backups list staging shpo", "backups show staging shpo", "backups fetch staging shpo rest"),
        *("backups pin staging shpo", "backups unpin staging shpo", "backups prune staging shpo --dry-run"),
        *("backups verify staging shpo", "backups restore staging shpo --into postgresql://me@127.0.0.1:1/shop"),
        *("run backup staging --only shpo", "run verify staging --only shpo", "run retention staging --only shpo"),
    ), unknown) | {
        "run backup staging --tag a:b": "--tag a:b: use at most 63 letters, digits, dots, hyphens and underscores",
        "backups restore staging shop --into postgresql://me@127.0.0.1:1/shop --before noon":
            "--before noon: this is not a time; write 2026-11-20, 02:00 or 2026-11-20T02:00+01:00",
    }  # fmt: skip
    for typed, why in mistyped.items():
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["--root", str(staging.folder), *typed.split()])
        out, err = capfdbinary.readouterr()
        assert exited.value.code == 64, (typed, err)
        assert out == b"", typed
        assert err == f"{why}\n".encode(), typed
    assert list(staging.store.list()) == before, "no record and no alert is written"
