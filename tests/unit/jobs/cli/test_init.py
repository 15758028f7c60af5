"""crew init: it writes valid files, prompts for what is missing, and overwrites nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pyrage
import pytest

from inventories import Repository
from jobs.backup.sets.encryption import can_decrypt
from jobs.backup.sets.signatures import SigningKey, parse_public_key
from jobs.cli import init
from tests.parts.patience import deadline
from tests.unit.jobs.cli.conftest import Crew


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)


FOLDER = TemporaryDirectory(prefix="groundcrew-init-")  # it is removed when the process ends
STORE = ("--store", f"file://{FOLDER.name}/store")


def test_the_written_files_are_valid(crew: Crew, tmp_path: Path) -> None:
    result = crew(
        *("init", "qa", *STORE, "--new-key", "qa.key", "--protected", "--timezone", "Europe/Berlin"),
        *("--database", "my-shop=postgresql://backup@db.internal/shop", "--alert", "CHAT_URL"),
        *("--heartbeat", "backup=BACKUP_PING_URL", "--heartbeat", "verify=VERIFY_PING_URL"),
    )
    assert result.code == 0, result
    environment = Repository.find(tmp_path).read("qa")
    assert environment.store
    assert (environment.protected, str(environment.timezone)) == (True, "Europe/Berlin")
    assert environment.databases["my-shop"].keep.daily == 7
    assert [address.source for address in environment.alerts.to] == ["environment variable CHAT_URL"]
    assert {job: address.source for job, address in environment.alerts.heartbeat.items()} == {
        "backup": "environment variable BACKUP_PING_URL",
        "verify": "environment variable VERIFY_PING_URL",
    }
    key = tmp_path / "qa.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert can_decrypt(environment.store.encrypt_to, key.read_text())
    assert environment.store.decrypt_with
    assert environment.store.decrypt_with.reveal() == key.read_text().strip()
    assert key.read_text().splitlines()[1] not in result.out + result.err
    assert (tmp_path / "inventories" / "qa").read_text().endswith("servers = []\n")
    assert f"copy {key} to a second safe place" in result.out
    assert "crew check qa" in result.out


def test_new_keys_sign_and_the_file_trusts_each_for_its_own_purpose(crew: Crew, tmp_path: Path) -> None:
    result = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert result.code == 0, result
    environment = Repository.find(tmp_path).read("qa")
    assert environment.store
    keys = {
        "groundcrew-manifest": environment.store.signing_key,
        "groundcrew-verification": environment.verify.sign_with,
    }
    for line, (namespace, secret) in zip(environment.store.trust, keys.items(), strict=True):
        assert secret
        assert secret.file
        assert secret.file.stat().st_mode & 0o777 == 0o600
        trusted, public = parse_public_key(line), SigningKey(secret.reveal()).public
        assert (trusted, trusted.namespaces) == (public, frozenset([namespace]))
        assert secret.reveal().splitlines()[2] not in result.out + result.err
    assert f"wrote {tmp_path}/qa.signing.key: signs backups; needed only where backups are written" in result.out
    assert f"wrote {tmp_path}/qa.verify.key: signs verifications; needed only where you verify" in result.out


@pytest.mark.parametrize("name", ["qa.key", "qa.signing.key", "qa.verify.key"])
def test_no_key_is_overwritten(crew: Crew, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    result = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert result.code == 64, result
    assert f"{tmp_path}/{name} already exists, and a key is never overwritten" in result.err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_without_new_keys_the_file_says_that_nothing_is_signed(crew: Crew, tmp_path: Path) -> None:
    assert crew("init", "qa", *STORE, "--encrypt-to", "nobody").code == 0
    store = Repository.find(tmp_path).read("qa").store
    assert store
    assert store.signing_disabled


def test_json_lists_the_written_files(crew: Crew, tmp_path: Path) -> None:
    document = crew("init", "qa", *STORE, "--encrypt-to", "nobody", "--json").json
    assert document["written"] == [str(tmp_path / "inventories" / name) for name in ("qa.toml", "qa")]
    assert document["public_keys"] == {}
    document = crew("init", "qb", *STORE, "--new-key", "qb.key", "--json").json
    assert document["written"][1] == f"{tmp_path}/qb.signing.key"
    assert document["public_keys"][f"{tmp_path}/qb.signing.key"].startswith(
        'namespaces="groundcrew-manifest" ssh-ed25519 '
    )


def test_nothing_is_overwritten(crew: Crew, tmp_path: Path) -> None:
    command = ("init", "qa", *STORE, "--encrypt-to", "nobody")
    assert crew(*command).code == 0
    before = (tmp_path / "inventories" / "qa.toml").read_text()
    result = crew(*command)
    assert result.code == 64, result
    assert "already exists and is not overwritten" in result.err
    assert (tmp_path / "inventories" / "qa.toml").read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 64, "the name of the new environment is missing"),
        (("qa",), 64, "the store is missing"),
        (("qa", *STORE), 64, "the encryption key is missing"),
        (("qa", *STORE, "--encrypt-to", "nobody", "--database", "shop"), 64, "expected NAME=URL"),
        (("qa", "--store", "ftp://x", "--encrypt-to", "nobody"), 78, "inventories/qa.toml: store.url"),
        (("qa", *STORE, "--encrypt-to", "nobody", "--timezone", "Mars/Base"), 78, "environment.timezone"),
        (("qa", *STORE, "--encrypt-to", "age1nonsense", "--new-key", "qa.key"), 78, "store.encrypt_to"),
        (("qa", *STORE, "--new-key", "no/such/folder/qa.key"), 64, "does not exist"),
        (("q/a", *STORE, "--encrypt-to", "nobody"), 64, "is not a valid name"),
        (
            ("qa", *STORE, "--encrypt-to", "nobody", "--database", "shop=postgresql://me:hunter2@db/shop"),
            78,
            "password",
        ),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(
    crew: Crew, tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    result = crew("init", *args)
    assert result.code == code, result
    assert result.out == ""
    assert message in result.err
    assert "hunter2" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_key(crew: Crew, tmp_path: Path) -> None:
    (tmp_path / "inventories").write_text("a file where the folder should be")
    result = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert result.code == 1, result
    assert result.err.startswith(f"cannot write {tmp_path}/inventories: File exists. ")
    (tmp_path / "inventories").unlink()
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "qa").symlink_to("nowhere")
    result = crew("init", "qa", *STORE, "--new-key", "qa.key")
    assert result.code == 1, result
    assert result.err.startswith(f"cannot write {tmp_path}/inventories/qa: File exists. ")
    assert [path.name for path in tmp_path.rglob("*")] == ["inventories", "qa"]


def test_a_key_that_cannot_be_written_is_an_error_with_a_remedy(crew: Crew) -> None:
    result = crew("init", "qa", *STORE, "--new-key", "/proc/qa.key")
    assert result.code == 1, result
    assert result.err.startswith("cannot write /proc/qa.key: No such file or directory. ")


@pytest.mark.parametrize("text", ["plain", 'a "b" \\ ü', "tab\t and line\n", "{ env = 1 }"])
def test_any_text_becomes_a_toml_string(text: str) -> None:
    assert tomllib.loads(f"key = {init._toml_string(text)}") == {"key": text}


def test_the_reference_is_printed_and_nothing_is_written(crew: Crew, tmp_path: Path) -> None:
    result = crew("init", "--reference")
    assert result.code == 0, result
    assert "[store]" in result.out
    assert crew("init", "--reference", "--json").json["reference"].strip() == result.out.strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answers", "creates_key", "databases"),
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
def test_on_a_terminal_it_prompts_until_each_answer_is_valid(
    tmp_path: Path, answers: list[str], creates_key: bool, databases: list[str]
) -> None:
    controller, terminal = pty.openpty()
    checkout = str(Path(init.__file__).parents[2])
    program = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "init", "qa"],
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": checkout},
    )  # fmt: skip
    os.write(controller, "".join(f"{line}\n" for line in answers).encode())
    out, err = program.communicate(timeout=deadline(20))
    os.close(controller)
    os.close(terminal)
    assert program.returncode == 0, out + err
    environment = Repository.find(tmp_path).read("qa")
    assert environment.protected is ("y" in answers)
    assert list(environment.databases) == databases
    assert (tmp_path / "groundcrew-qa.key").exists() is creates_key


def test_what_nobody_was_asked_for_is_said(crew: Crew, tmp_path: Path) -> None:
    database = ("--database", "shop=postgresql://backup@db.internal/shop")
    key = str(pyrage.x25519.Identity.generate().to_public())
    result = crew("init", "qa", *STORE, "--encrypt-to", key, *database)
    assert result.code == 0, result
    assert "Backups run each day at 02:00 (UTC), and the newest set of each of 7 days is kept." in result.out
    assert "No verification is scheduled: no key here decrypts the backups" in result.out
    assert "No alerts are sent" in result.out
    assert "verify =" not in (tmp_path / "inventories" / "qa.toml").read_text()
    assert "Each Sunday at 05:00" in crew("init", "try", *STORE, "--encrypt-to", "nobody", *database).out


@pytest.mark.parametrize("heartbeat", ["backups=URL", "backup", "backup="])
def test_a_heartbeat_without_a_job_or_a_variable_is_refused(crew: Crew, heartbeat: str) -> None:
    result = crew("init", "qa", *STORE, "--encrypt-to", "nobody", "--heartbeat", heartbeat)
    assert result.code == 64
    assert f"--heartbeat {heartbeat}: expected JOB=VARIABLE, for example backup=HEARTBEAT_BACKUP_URL" in result.err
