"""What each check comes to, and that one which hangs holds up nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyrage
import pytest

from inventories import Environment, Repository, Secret
from jobs.checks import (
    Check,
    CheckResult,
    CheckVerdict,
    alerts,
    checks_of,
    databases,
    encryption,
    fault,
    machine,
    ok,
    run_checks,
    secrets,
    store,
    warn,
)
from jobs.run import Failed
from jobs.store import Denied, Store, open_store

FILE = """
[environment]
name = "try"
[store]
url = "file://{folder}/store"
encrypt_to = "nobody"
profiles = {{ backup = "writer", retention = "pruner" }}
[servers.main]
url = "postgresql://me@127.0.0.1/postgres"
password = {{ env = "NOT_THERE" }}
via = {{ ssh = "bastion" }}
[databases.shop]
url = "postgresql://me@127.0.0.1/shop"
via = {{ kubernetes = "prod/statefulset/postgres" }}
[verify]
scratch = "postgresql://me@127.0.0.1/postgres"
[alerts]
to = ["json://127.0.0.1/hook", {{ env = "ALSO_NOT_THERE" }}]
heartbeat = {{ backup = {{ env = "BEAT" }} }}
[metrics]
textfile = "{folder}/metrics/groundcrew.prom"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "inventories"
    folder.mkdir()
    (folder / "try").write_text("servers = []\n")
    (folder / "try.toml").write_text(FILE.format(folder=tmp_path))
    return Repository.find(tmp_path).read("try")


def test_everything_that_the_file_names_is_looked_at(environment: Environment) -> None:
    assert {check.what for check in checks_of(environment)} == {
        *("store", "store as backup", "store as retention", "locks", "locks as backup", "locks as retention", "clock"),
        *("encryption", "server main", "database shop", "verify scratch"),
        *("alerts 1", "alerts 2", "heartbeat backup", "metrics"),
        *("program ssh", "program kubectl", "program zstd", "program age", "program psql"),
        *("secret servers.main.password", "secret alerts.to.1", "secret alerts.to.2"),
        "secret alerts.heartbeat.backup",
    }


def raising(error: Exception) -> Check:
    def look() -> CheckResult:
        raise error

    return Check("it", look)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Denied("s3://x: may not write; grant it"), "s3://x: may not write; grant it"),
        (Failed("no pg_dump; install it"), "no pg_dump; install it"),
        (KeyError("colour"), "this check is broken (KeyError: 'colour'); please report it"),
    ],
)
def test_what_a_look_raises_is_a_fault(error: Exception, says: str) -> None:
    ((_, finding),) = run_checks([raising(error)])
    assert (finding.verdict, str(finding)) == (CheckVerdict.FAULT, says)


def test_one_that_hangs_is_a_fault_and_holds_up_nobody() -> None:
    never = threading.Event()
    hanging = [Check(f"hangs {n}", lambda: ok(str(never.wait(60)))) for n in range(9)]
    quick = [Check(f"quick {n}", lambda: ok("here")) for n in range(9)]
    found = {check.what: finding for check, finding in run_checks([*hanging, *quick], limit=0.2)}
    never.set()
    assert len(found) == 18
    assert {found[f"quick {n}"].verdict for n in range(9)} == {CheckVerdict.OK}
    assert str(found["hangs 0"]).startswith("did not answer within 0.2 s; ")


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    settings = SimpleNamespace(
        url=f"file://{tmp_path}/store", region="", endpoint="", profile="", profiles={}, max_parts=9
    )
    return open_store(settings)


class Wrapped:
    """A store that misbehaves in one way."""

    def __init__(self, store: Store, **odd: Any) -> None:
        self._store, self._odd = store, odd

    def __getattr__(self, name: str) -> Any:
        return self._odd.get(name) or getattr(self._store, name)


def test_a_store_is_written_read_and_listed_and_nothing_is_deleted(kept: Store) -> None:
    def delete(keys: object) -> None:
        raise Denied("no right to delete")

    shy = cast(Store, Wrapped(kept, delete=delete))
    for _ in range(2):
        assert store.check_access(shy, "try", "backup").verdict is CheckVerdict.OK
    assert [entry.key for entry in kept.list()] == ["try/check/backup"]


def test_a_store_that_gives_back_something_else_is_a_fault(kept: Store) -> None:
    stale = cast(Store, Wrapped(kept, get=lambda key: SimpleNamespace(body=b"stale")))
    assert "gave back something else" in str(store.check_access(stale, "try", None))
    forgetful = cast(Store, Wrapped(kept, list=lambda prefix: iter(())))
    assert "does not list" in str(store.check_access(forgetful, "try", None))


def test_the_clock_is_read_from_the_store(kept: Store) -> None:
    assert store.check_clock(kept, "try").verdict is CheckVerdict.OK
    late = SimpleNamespace(key="try/check/clock", modified=datetime.now(UTC) - timedelta(hours=1))
    ahead = store.check_clock(cast(Store, Wrapped(kept, list=lambda prefix: iter([late]))), "try")
    assert ahead.verdict is CheckVerdict.FAULT
    assert "s ahead of the store's" in ahead.fact


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0, CheckVerdict.OK),
        (-9, CheckVerdict.OK),
        (30, CheckVerdict.WARN),
        (-30, CheckVerdict.WARN),
        (400, CheckVerdict.FAULT),
    ],
)
def test_clocks_may_differ_a_little(seconds: int, verdict: CheckVerdict) -> None:
    assert store.judge_skew(timedelta(seconds=seconds)).verdict is verdict


def key_file(folder: Path, name: str) -> tuple[Secret, str]:
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(str(identity))
    path.chmod(0o600)
    return Secret(file=path), str(identity.to_public())


def test_a_round_trip_tells_whether_the_key_fits(tmp_path: Path) -> None:
    (key, public), (other, _) = key_file(tmp_path, "a"), key_file(tmp_path, "b")
    assert encryption.round_trip((public,), key).verdict is CheckVerdict.OK
    assert encryption.round_trip((public,), other).verdict is CheckVerdict.FAULT
    assert encryption.round_trip((public,), None) == ok(
        "encrypts; no decrypt_with, so restores and verifications must run elsewhere"
    )
    assert encryption.round_trip((), None).verdict is CheckVerdict.WARN


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_heartbeat_address_is_reached_and_not_pinged(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def listens(url: str) -> CheckResult:
        monkeypatch.setenv("BEAT", url)
        return alerts.check_heartbeat(Secret(env="BEAT"))

    assert listens(f"http://127.0.0.1:{listener}/uuid-secret") == ok(f"127.0.0.1:{listener} is in reach")
    refused = listens("http://127.0.0.1:1/uuid-secret")
    assert refused.verdict is CheckVerdict.FAULT
    assert "uuid-secret" not in str(refused)
    assert listens("ftp://127.0.0.1/x").verdict is CheckVerdict.FAULT


def test_an_alert_address_is_read_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TO", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    found = alerts.check_alert_address(Secret(env="TO"))
    assert found.verdict is CheckVerdict.OK
    assert "T1JJ3T3L2" not in str(found)
    monkeypatch.setenv("TO", "nonsense")
    assert alerts.check_alert_address(Secret(env="TO")).verdict is CheckVerdict.FAULT


def test_the_metrics_folder_must_be_there(tmp_path: Path) -> None:
    assert alerts.check_textfile(tmp_path / "x.prom").verdict is CheckVerdict.OK
    assert alerts.check_textfile(tmp_path / "nowhere" / "x.prom").verdict is CheckVerdict.WARN


def test_programs_tell_their_version_or_what_they_are_wanted_for() -> None:
    python = machine.check_program(machine.RequiredProgram("python3", ("--version",), "this"))
    assert python.verdict is CheckVerdict.OK
    assert python.fact.startswith("3.")
    missing = machine.RequiredProgram("no-such-program", (), "stacks")
    assert machine.check_program(missing) == fault(
        "is not on this machine, needed for stacks", "install no-such-program"
    )
    assert (
        machine.check_program(machine.RequiredProgram("no-such-program", (), "x", must=False)).verdict
        is CheckVerdict.WARN
    )


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17", "9.2p1"),
        ("Terraform v1.9.8\non linux_amd64", "1.9.8"),
        ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", "1.5.4"),
        ("(devel)", None),
    ],
)
def test_versions_are_found_in_what_programs_say(said: str, version: str | None) -> None:
    assert machine.first_version(said) == version


def test_secrets_are_named_by_their_keys(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = dict(secrets.secrets_in(environment))
    assert set(found) >= {"servers.main.password", "alerts.to.2", "alerts.heartbeat.backup"}
    monkeypatch.setenv("NOT_THERE", "hunter2")
    assert secrets.check_secret(found["servers.main.password"]) == ok("is there (environment variable NOT_THERE)")


def test_without_a_store_there_is_a_warning_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "bare").write_text("servers = []\n")
    (tmp_path / "inventories" / "bare.toml").write_text('[environment]\nname = "bare"\n')
    bare = Repository.find(tmp_path).read("bare")
    ((check, finding),) = run_checks(checks_of(bare))
    assert (check.what, finding) == (
        "store",
        warn("there is no [store]", "add one before anything is to be run or kept"),
    )
    assert list(databases.checks(bare)) == []
