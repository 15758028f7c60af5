"""crew init: two files, checked, and never over what is there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from inventories import Repository
from jobs.backup.sets.encryption import fits
from jobs.cli import init
from tests.unit.jobs.cli.conftest import Crew


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)


STORE = ("--store", "file:///var/lib/groundcrew")


def test_what_is_written_can_be_read(crew: Crew, tmp_path: Path) -> None:
    ended = crew(
        *("init", "qa", *STORE, "--new-key", "qa.key", "--protected", "--timezone", "Europe/Berlin"),
        *("--database", "my-shop=postgresql://backup@db.internal/shop", "--alert", "CHAT_URL"),
    )
    assert ended.code == 0, ended.err
    environment = Repository.find(tmp_path).read("qa")
    assert environment.store
    assert (environment.protected, str(environment.timezone)) == (True, "Europe/Berlin")
    assert environment.databases["my-shop"].keep.daily == 7
    assert [address.source for address in environment.alerts.to] == ["environment variable CHAT_URL"]
    key = tmp_path / "qa.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert fits(environment.store.encrypt_to, key.read_text())
    assert environment.store.decrypt_with
    assert environment.store.decrypt_with.reveal() == key.read_text().strip()
    assert key.read_text().splitlines()[1] not in ended.out
    assert (tmp_path / "inventories" / "qa").read_text().endswith("servers = []\n")
    assert f"copy {key} to a second safe place" in ended.out
    assert "crew check qa" in ended.out


def test_for_machines(crew: Crew, tmp_path: Path) -> None:
    told = crew("init", "qa", *STORE, "--encrypt-to", "nobody", "--json").told
    assert told["written"] == [str(tmp_path / "inventories" / name) for name in ("qa.toml", "qa")]


def test_nothing_is_overwritten(crew: Crew, tmp_path: Path) -> None:
    ask = ("init", "qa", *STORE, "--encrypt-to", "nobody")
    assert crew(*ask).code == 0
    before = (tmp_path / "inventories" / "qa.toml").read_text()
    ended = crew(*ask)
    assert ended.code == 64
    assert "exists, and nothing is overwritten" in ended.err
    (tmp_path / "my.key").write_text("precious")
    ended = crew("init", "qb", *STORE, "--new-key", "my.key")
    assert (ended.code, (tmp_path / "my.key").read_text()) == (64, "precious")
    assert (tmp_path / "inventories" / "qa.toml").read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ((), 64, "name the new environment"),
        (("qa",), 64, "say where state is kept"),
        (("qa", *STORE), 64, "say who can read it"),
        (("qa", *STORE, "--encrypt-to", "nobody", "--database", "shop"), 64, "say NAME=URL"),
        (("qa", "--store", "ftp://x", "--encrypt-to", "nobody"), 78, "inventories/qa.toml: store.url"),
        (("qa", *STORE, "--encrypt-to", "nobody", "--timezone", "Mars/Base"), 78, "environment.timezone"),
        (("qa", *STORE, "--encrypt-to", "age1nonsense", "--new-key", "qa.key"), 78, "store.encrypt_to"),
        (("qa", *STORE, "--new-key", "no/such/folder/qa.key"), 64, "there is no folder"),
        (("q/a", *STORE, "--encrypt-to", "nobody"), 64, "is no name"),
        (
            ("qa", *STORE, "--encrypt-to", "nobody", "--database", "shop=postgresql://me:hunter2@db/shop"),
            78,
            "password",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    crew: Crew, tmp_path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    ended = crew("init", *args)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert "hunter2" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_no_key_is_left_of_an_environment_that_could_not_be_written(crew: Crew, tmp_path: Path) -> None:
    (tmp_path / "inventories").write_text("a file where the folder should be")
    ended = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert (ended.code, ended.err) == (1, f"{tmp_path}/inventories: File exists\n")
    (tmp_path / "inventories").unlink()
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "qa").symlink_to("nowhere")
    ended = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert (ended.code, ended.err) == (1, f"{tmp_path}/inventories/qa: File exists\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["inventories", "qa"]


@pytest.mark.parametrize("text", ["plain", 'a "b" \\ ü', "tab\t and line\n", "{ env = 1 }"])
def test_any_text_is_a_toml_string(text: str) -> None:
    assert tomllib.loads(f"key = {init._text(text)}") == {"key": text}


def test_the_reference_is_printed_and_nothing_is_written(crew: Crew, tmp_path: Path) -> None:
    ended = crew("init", "--reference")
    assert ended.code == 0
    assert "[store]" in ended.out
    assert crew("init", "--reference", "--json").told["reference"].strip() == ended.out.strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "key", "databases"),
    [
        (["file:///srv/crew", "Europe/Berlin", "y", "new", "", "shop=postgresql://me@db/shop"], True, ["shop"]),
        (["file:///srv/crew", "", "n", "nobody", ""], False, []),
        (
            [
                "ftp://x",
                "file:///srv/crew",
                "Mars/Base",
                "UTC",
                "y",
                "age1x",
                "new",
                "no/such/folder/key",
                "",
                "shop",
                "shop=postgresql://db",
                "shop=postgresql://db/shop",
            ],
            True,
            ["shop"],
        ),
    ],
)
def test_on_a_terminal_what_is_open_is_asked_until_the_answer_can_be_read(
    tmp_path: Path, typed: list[str], key: bool, databases: list[str]
) -> None:
    ours, theirs = pty.openpty()
    house = str(Path(init.__file__).parents[2])
    program = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "init", "qa"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": house},
    )  # fmt: skip
    os.write(ours, "".join(f"{line}\n" for line in typed).encode())
    out, err = program.communicate(timeout=20)
    os.close(ours)
    os.close(theirs)
    assert program.returncode == 0, out + err
    environment = Repository.find(tmp_path).read("qa")
    assert environment.protected is ("y" in typed)
    assert list(environment.databases) == databases
    assert (tmp_path / "groundcrew-qa.key").exists() is key
