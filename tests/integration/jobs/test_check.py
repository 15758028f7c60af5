"""crew check with real databases and real stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from tests.parts.needs import majors
from tests.parts.postgres import Database
from tests.parts.s3 import Bucket, with_object_lock

FILE = """
[environment]
name = "try"
[store]
url = "{url}"
endpoint = "{endpoint}"
region = "us-east-1"
encrypt_to = "nobody"
sign_with = "nobody"
"""


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, tuple[str, str]]]:
    """Runs crew check on an environment; returns verdict and fact of each check by its name."""

    def run(more: str = "", url: str = "", endpoint: str = "") -> dict[str, tuple[str, str]]:
        folder = tmp_path / "inventories"
        folder.mkdir(exist_ok=True)
        (folder / "try").write_text("servers = []\n")
        (folder / "try.toml").write_text(FILE.format(url=url or f"file://{tmp_path}/store", endpoint=endpoint) + more)
        monkeypatch.chdir(tmp_path)
        cli.run_command_line(["check", "try", "--create", "--json"])
        document = json.loads(capsys.readouterr().out)
        return {each["check"]: (each["verdict"], each["fact"]) for each in document["checks"]}

    return run


@majors(16, 18)
def test_it_logs_in_to_a_database_and_finds_a_pg_dump(
    check: Callable[..., dict[str, tuple[str, str]]],
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    major: int,
) -> None:
    shop = database(major)
    monkeypatch.setenv("SHOP_PASSWORD", shop.password)
    results = check(f'[databases.shop]\nurl = "{shop.url}"\npassword = {{ env = "SHOP_PASSWORD" }}\n')
    verdict, fact = results["database shop"]
    assert verdict == "ok", fact
    assert fact.startswith(f"PostgreSQL {major}.")
    assert f"; pg_dump {major}." in fact
    assert results["secret databases.shop.password"][0] == "ok"


@majors(14)
def test_a_wrong_password_is_a_fault_without_the_password(
    check: Callable[..., dict[str, tuple[str, str]]],
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    major: int,
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2-is-wrong")
    results = check(f'[databases.shop]\nurl = "{database(major).url}"\npassword = {{ env = "SHOP_PASSWORD" }}\n')
    assert results["database shop"][0] == "fault"
    assert "password authentication failed" in results["database shop"][1]
    assert "hunter2" not in json.dumps(results)


def test_the_target_of_a_refresh_need_not_exist_yet(
    check: Callable[..., dict[str, tuple[str, str]]],
    database: Callable[..., Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = database(16)
    monkeypatch.setenv("PGPASSWORD", there.password)
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "clean.sql").write_text("SELECT 1;")
    (tmp_path / "inventories" / "prod").write_text("servers = []\n")
    (tmp_path / "inventories" / "prod.toml").write_text(
        FILE.format(url=f"file://{tmp_path}/prod", endpoint="").replace('"try"', '"prod"')
        + f'[databases.shop]\nurl = "{there.url}"\n'
    )

    def result(target: str, more: str = 'restore_as = "postgres"') -> tuple[str, str]:
        text = f'[refresh.shop]\nfrom = "prod/shop"\ninto = "{target}"\nsanitise = "clean.sql"\n{more}\n'
        return check(text)["refresh shop"]

    verdict, fact = result(there.url, "")
    assert (verdict, fact.partition(",")[0]) == ("fault", "connected as the superuser postgres")
    assert result(there.url)[0] == "ok"
    verdict, fact = result(f"{there.url}_new")
    assert (verdict, fact.partition(" (")[0]) == ("ok", f"{there.name}_new does not exist yet; the refresh creates it")


def test_a_bucket_that_honours_conditions_is_ok(
    check: Callable[..., dict[str, tuple[str, str]]], seaweed: Bucket
) -> None:
    results = check(url=seaweed.url, endpoint=seaweed.endpoint)
    assert [results[name][0] for name in ("store", "locks", "clock")] == ["ok", "ok", "ok"]


def test_a_delete_of_a_locked_object_is_tried(
    check: Callable[..., dict[str, tuple[str, str]]], seaweed: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = with_object_lock(seaweed)
    monkeypatch.setenv("GROUNDCREW__STORE__LOCK", "30d")
    results = check(url=locked.url, endpoint=locked.endpoint)
    assert results["object lock"] == ("warn", "these credentials can lift the locks of backups")
    monkeypatch.setenv("GROUNDCREW__STORE__LOCK_MODE", "compliance")
    results = check(url=locked.url, endpoint=locked.endpoint)
    assert results["object lock"] == ("ok", "the store keeps versions and refuses to delete a locked object")
    verdict, fact = check(url=seaweed.url, endpoint=seaweed.endpoint)["object lock"]
    assert (verdict, "has no object lock, which lock in the file needs" in fact) == ("fault", True)


def test_a_store_that_ignores_conditions_is_a_fault(
    check: Callable[..., dict[str, tuple[str, str]]], rclone_s3: Bucket
) -> None:
    results = check(url=rclone_s3.url, endpoint=rclone_s3.endpoint)
    assert results["store"][0] == "ok"
    assert results["locks"][0] == "fault"


def test_an_unreachable_store_is_a_fault(
    check: Callable[..., dict[str, tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    results = check(url="s3://nowhere/x", endpoint="http://127.0.0.1:1")
    assert {results[name][0] for name in ("store", "locks", "clock")} == {"fault"}
