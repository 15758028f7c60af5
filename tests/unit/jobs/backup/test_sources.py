from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup import sources
from jobs.backup.sources import (
    databases_to_back_up,
    is_known,
    password_in_file,
    schedule,
    section_of,
    select_databases,
    subject_name,
)
from jobs.run.job import Options, UnknownName
from tests.parts.runs import store_in

FILE = """
[environment]
name = "staging"
[store]
url = "file:///nowhere"
encrypt_to = "nobody"
sign_with = "nobody"
[servers.main]
url = "postgresql://me@127.0.0.1:1/postgres"
backup = "0 2 * * *"
[databases.shop]
url = "postgresql://me@127.0.0.1:1/shop"
backup = "0 3 * * *"
[databases.idle]
url = "postgresql://me@127.0.0.1:1/idle"
"""


@pytest.fixture
def staging(tmp_path: Path) -> Environment:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "staging").write_text("dev_servers = []\n")
    (tmp_path / "inventories" / "staging.toml").write_text(FILE)
    return Repository.find(tmp_path).read("staging")


@pytest.mark.parametrize("database", ["shop", "my shop", "a/b", "é.ü", "..", "%41", 'q"uote'])
def test_the_name_of_a_servers_database_can_be_decoded(staging: Environment, database: str) -> None:
    name = subject_name("main", database)
    assert "/" not in name
    assert section_of(staging, name) == (staging.servers["main"], database)


def test_databases_and_servers_have_their_sections(staging: Environment) -> None:
    assert section_of(staging, "shop") == (staging.databases["shop"], None)
    assert section_of(staging, "main") == (staging.servers["main"], None)


def test_an_unknown_name_is_an_error_that_lists_the_known_names(staging: Environment) -> None:
    for name in ("nope", "shop.x", "other.shop"):
        with pytest.raises(UnknownName, match=r"there is no database .*; there are: .*shop.*main\.<database>"):
            section_of(staging, name)


def test_databases_servers_and_their_databases_are_known(staging: Environment) -> None:
    assert [is_known(staging, name) for name in ("shop", "main", "main.any", "nope", "other.shop")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_excluded_and_restoring_databases_are_not_selected() -> None:
    names = ["app", "app_test", "rdsadmin", "scratch1", "Scratch", "app_restoring_20261121_093000"]
    assert select_databases(names, ["*_test", "scratch*"]) == ["app", "Scratch"]


def test_databases_that_restores_left_are_not_backed_up() -> None:
    names = ["app", "app_replaced_20261121_020000", "app_restoring_20261121_020000", "old_replaced_20261121_020000"]
    assert select_databases(names, []) == ["app", "old_replaced_20261121_020000"]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("postgresql://me@127.0.0.1:1/idle", "environment variable SHOP_PASSWORD"),
        ("postgresql://me@127.0.0.1:1/shop_again", "environment variable SHOP_PASSWORD"),
        ("postgresql://me:pw1@127.0.0.1:1/shop", None),
        ("postgresql://other@127.0.0.1:1/shop", None),
        ("postgresql://me@127.0.0.1/shop", None),
        ("postgresql://me@db/shop", None),
    ],
)
def test_the_file_has_the_password_of_a_server_and_user(tmp_path: Path, url: str, source: str | None) -> None:
    (tmp_path / "staging").write_text("dev_servers = []\n")
    text = FILE.partition("[servers")[0] + '[databases.shop]\nurl = "postgresql://me@127.0.0.1:1/shop"\n'
    (tmp_path / "staging.toml").write_text(text + 'password = { env = "SHOP_PASSWORD" }\n')
    found = password_in_file(Repository.find(tmp_path).read("staging"), url)
    assert (found and found.source) == source


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (Options(only=("shop",)), ["shop"]),
        (Options(only=("main.a", "shop", "main.a")), ["main.a", "shop"]),  # main.a has a set
        (Options(only=("main.b",)), ["main"]),  # nothing shows that main.b ever existed
        (Options(only=("shop", "idle"), scheduled=True), ["shop"]),
        (Options(only=("main",)), ["main"]),  # unreachable: its run reports the reason
    ],
)
def test_a_run_backs_up_the_selected_and_scheduled_databases(
    staging: Environment, tmp_path: Path, options: Options, names: list[str]
) -> None:
    store = store_in(tmp_path)
    store.put("staging/backups/main.a/20261120T020000Z-cccc/manifest.json", b"{}")
    assert databases_to_back_up(staging, store, options) == names


def test_a_database_that_the_server_does_not_have_is_an_error_before_any_run(
    staging: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "list_databases", lambda *_: {"crm": True, "tenant_1": True})
    with pytest.raises(UnknownName, match=r"no database main\.tenannt_1; there are: main\.crm; main\.tenant_1"):
        databases_to_back_up(staging, store_in(tmp_path), Options(only=("main.tenannt_1",)))
    assert databases_to_back_up(staging, store_in(tmp_path), Options(only=("main.crm",))) == ["main.crm"]


def test_a_database_that_accepts_no_connections_is_backed_up_if_it_was_before(
    staging: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs fail then: its owner can close it, which must not look as if it was dropped."""
    monkeypatch.setattr(sources, "list_databases", lambda *_: {"a": False, "b": False, "c": True})
    store = store_in(tmp_path)
    store.put("staging/backups/main.a/20261120T020000Z-cccc/manifest.json", b"{}")
    assert databases_to_back_up(staging, store, Options(only=("main",))) == ["main.a", "main.c"]
    assert databases_to_back_up(staging, store, Options(only=("main.b",))) == ["main.b"]


def test_the_databases_of_a_server_share_its_schedule(staging: Environment) -> None:
    assert schedule(staging, "main.a") == schedule(staging, "main") == "0 2 * * *"
    assert schedule(staging, "idle") is None
