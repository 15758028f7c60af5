"""Secrets are read from their source and never shown."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from inventories import NoSecret, Secret, hide, redact, secret
from tests.parts.patience import deadline, until

KEY = "inventories/staging.toml: databases.shop.password"


def test_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "correct-horse")
    assert Secret(env="SHOP_PASSWORD").reveal() == "correct-horse"


def test_from_a_credential_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "SHOP_PASSWORD").write_text("battery-staple\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    assert Secret(env="SHOP_PASSWORD").reveal() == "battery-staple"


def test_the_variable_comes_before_the_credential(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "SHOP_PASSWORD").write_text("from-the-file")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SHOP_PASSWORD", "from-the-variable")
    assert Secret(env="SHOP_PASSWORD").reveal() == "from-the-variable"


def test_from_a_file_without_its_final_newline(tmp_path: Path) -> None:
    kept = private(tmp_path / "password", " two words \r\n")
    assert Secret(file=kept).reveal() == " two words "


@pytest.mark.parametrize("command", [("printf", "from\\na command\\n"), ("sh", "-c", "echo from; echo a command")])
def test_from_a_command(command: tuple[str, ...]) -> None:
    assert Secret(command=command).reveal() == "from\na command"


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_secret_that_cannot_be_read_names_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    monkeypatch.setenv("EMPTY", "")
    open_to_all = private(tmp_path / "open", "x")
    open_to_all.chmod(0o644)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    not_there = tmp_path / "missing"
    refused = {
        Secret(env="SHOP_PASSWORD"): "environment variable SHOP_PASSWORD is not set, and $CREDENTIALS_DIRECTORY has no"
        " file SHOP_PASSWORD; set the variable or create the file",
        Secret(env="EMPTY"): "environment variable EMPTY is empty; store the secret there",
        Secret(
            file=not_there
        ): f"file {not_there} cannot be read (No such file or directory); check its path and permissions",
        Secret(
            file=open_to_all
        ): f"file {open_to_all} is readable or writable by every user of this machine; run: chmod 600 {open_to_all}",
        Secret(file=binary): f"file {binary} is not UTF-8 text; store it as text",
        Secret(file=tmp_path): f"file {tmp_path} ",
        Secret(
            command=("no-such-program",)
        ): "the output of no-such-program cannot be read (No such file or directory);",
        Secret(
            command=("sh", "-c", "echo oops-a-secret >&2; exit 3")
        ): "the output of sh cannot be read: exit code 3; run the command yourself to see why",
        Secret(command=("true",)): "the output of true is empty; store the secret there",
    }
    for one, line in refused.items():
        with pytest.raises(NoSecret) as caught:
            Secret(one.env, one.file, one.command, used_by=KEY).reveal()
        assert str(caught.value).startswith(f"{KEY}: {line}")
        assert "oops" not in str(caught.value)


def test_a_slow_command_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secret, "COMMAND_SECONDS", 2)
    start = time.monotonic()
    with pytest.raises(NoSecret, match=r"the output of sh did not arrive within 2 s"):
        Secret(command=("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait")).reveal()
    assert time.monotonic() - start < deadline(5)
    status = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")

    def is_over() -> bool:
        try:
            return "zombie" in status.read_text()
        except OSError:
            return True

    until(is_over)


def test_a_secret_never_shows() -> None:
    one = Secret(literal="mailto://ops@acme.example")
    assert [str(one), repr(one), f"{one}", json.dumps([one], default=str)] == ["***", "***", "***", '["***"]']


def test_a_revealed_value_is_replaced_in_every_encoding() -> None:
    value = 'p&ss w"ö/rd\\2'
    assert Secret(literal=value).reveal() == value
    for form in (value, quote_plus(value), json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)):
        assert redact(f"before {form} after").replace('"', "").replace("'", "") == "before *** after"


def test_the_path_of_an_address_is_replaced_in_rewritten_urls() -> None:
    hide("slack://TokenA/TokenB123/TokenC123/?footer=no")
    hide("https://ping.example/1b9d6bcd-2a3c-4f5e")
    hide("mailto://ops@acme.example")
    hide("json://hooks.example/backup")
    assert redact("POST https://hooks.slack.com/services/TokenA/TokenB123/TokenC123") == (
        "POST https://hooks.slack.com/services/TokenA***"
    )
    assert redact("timed out on /1b9d6bcd-2a3c-4f5e/start?rid=3") == "timed out on ***/start?rid=3"
    assert redact("staging/backups/shop, to acme.example") == "staging/backups/shop, to acme.example"


def test_each_line_of_a_key_is_replaced() -> None:
    hide("# created: 2026\nAGE-SECRET-KEY-1QQQQQQ\nAGE-SECRET-KEY-1ZZZZZZ")
    assert redact("identity AGE-SECRET-KEY-1ZZZZZZ is no good") == "identity *** is no good"
    assert redact("# created: 2026") == "# created: 2026"


def test_the_longest_value_is_replaced_first() -> None:
    hide("abcd-secret")
    hide("abcd-secret-and-more")
    assert redact("abcd-secret-and-more") == "***"


def test_a_short_value_is_replaced_only_as_a_whole_word() -> None:
    hide("zq7")
    assert redact("login zq7 failed, xzq7y did not") == "login *** failed, xzq7y did not"


def test_a_value_that_is_not_text_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ODD", os.fsdecode(b"odd-\xff-value"))
    value = Secret(env="ODD").reveal()
    assert redact(f"it is {value}") == "it is ***"


URLS = [
    ("postgresql://backup:pw1@db/shop", "postgresql://backup:***@db/shop"),
    ("postgresql://backup:p@w/1?#@db/shop", "postgresql://backup:***@db/shop"),
    ("at 'postgresql://:pw1@db/shop':", "at 'postgresql://:***@db/shop':"),
    ("postgresql://db/shop?password=pw1&sslmode=require", "postgresql://db/shop?password=***&sslmode=require"),
    ("host=db password=pw1 dbname=shop", "host=db password=*** dbname=shop"),
    ("password='p w\\'1' dbname=shop", "password=*** dbname=shop"),
    ("sslpassword=pw1", "sslpassword=***"),
    ("PassWord=pw1", "PassWord=***"),
    ("pa\u017fsword=pw1", "pa\u017fsword=***"),
    (
        "https://user:pw1@a.example/x https://user:pw2@b.example",
        "https://user:***@a.example/x https://user:***@b.example",
    ),
    ("http://localhost:8333/bucket tell ops@acme.example", "http://localhost:8333/bucket tell ops@acme.example"),
    ("http://localhost:8333/a@b", "http://localhost:8333/a@b"),
    ("s3://bucket/prefix", "s3://bucket/prefix"),
    ("ssh://ops@bastion:2222", "ssh://ops@bastion:2222"),
]


@pytest.mark.parametrize(("text", "shown"), URLS)
def test_passwords_in_addresses_are_replaced(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_many_threads_reveal_and_redact_at_once() -> None:
    def work(number: int) -> None:
        for turn in range(20):
            value = f"thread-{number}-turn-{turn}-secret"
            Secret(literal=value).reveal()
            leaked.extend([value] if value in redact(f"x {value} y") else [])

    leaked: list[str] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaked == []
