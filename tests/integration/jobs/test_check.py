"""crew check against real databases and real stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from tests.parts.needs import majors
from tests.parts.postgres import Database
from tests.parts.s3 import Bucket

FILE = """
[environment]
name = "try"
[store]
url = "{url}"
endpoint = "{endpoint}"
region = "us-east-1"
encrypt_to = "nobody"
"""


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, tuple[str, str]]]:
    """What crew check finds: verdict and fact by what was looked at."""

    def found(more: str = "", url: str = "", endpoint: str = "") -> dict[str, tuple[str, str]]:
        folder = tmp_path / "inventories"
        folder.mkdir(exist_ok=True)
        (folder / "try").write_text("servers = []\n")
        (folder / "try.toml").write_text(FILE.format(url=url or f"file://{tmp_path}/store", endpoint=endpoint) + more)
        monkeypatch.chdir(tmp_path)
        cli.answer(["check", "try", "--json"])
        told = json.loads(capsys.readouterr().out)
        return {one["check"]: (one["verdict"], one["fact"]) for one in told["checks"]}

    return found


@majors(16, 18)
def test_a_database_is_logged_into_and_a_pg_dump_is_found(
    check: Callable[..., dict[str, tuple[str, str]]],
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    major: int,
) -> None:
    shop = database(major)
    monkeypatch.setenv("SHOP_PASSWORD", shop.password)
    found = check(f'[databases.shop]\nurl = "{shop.url}"\npassword = {{ env = "SHOP_PASSWORD" }}\n')
    verdict, fact = found["database shop"]
    assert verdict == "ok", fact
    assert fact.startswith(f"PostgreSQL {major}.")
    assert f"; pg_dump {major}." in fact
    assert found["secret databases.shop.password"][0] == "ok"


@majors(14)
def test_a_wrong_password_is_a_fault_that_does_not_show_it(
    check: Callable[..., dict[str, tuple[str, str]]],
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    major: int,
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2-is-wrong")
    found = check(f'[databases.shop]\nurl = "{database(major).url}"\npassword = {{ env = "SHOP_PASSWORD" }}\n')
    assert found["database shop"][0] == "fault"
    assert "password authentication failed" in found["database shop"][1]
    assert "hunter2" not in json.dumps(found)


def test_a_bucket_with_conditions_is_ok(check: Callable[..., dict[str, tuple[str, str]]], seaweed: Bucket) -> None:
    found = check(url=seaweed.url, endpoint=seaweed.endpoint)
    assert [found[name][0] for name in ("store", "locks", "clock")] == ["ok", "ok", "ok"]


def test_a_store_that_ignores_conditions_is_found_out(
    check: Callable[..., dict[str, tuple[str, str]]], rclone_s3: Bucket
) -> None:
    found = check(url=rclone_s3.url, endpoint=rclone_s3.endpoint)
    assert found["store"][0] == "ok"
    assert found["locks"][0] == "fault"


def test_a_store_out_of_reach_says_so(
    check: Callable[..., dict[str, tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    found = check(url="s3://nowhere/x", endpoint="http://127.0.0.1:1")
    assert {found[name][0] for name in ("store", "locks", "clock")} == {"fault"}
