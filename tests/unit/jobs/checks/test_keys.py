"""The keys that decrypt and sign: what a machine without some of them can do, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup import new_keys
from jobs.checks.check import CheckResult, CheckVerdict, result_of
from jobs.checks.keys import checks

Checked = dict[str, CheckResult]
Read = Callable[..., Environment]


@pytest.fixture(autouse=True)
def _not_in_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOCATION_ID", raising=False)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that writes keys and a file that names them, after the given changes of its text."""

    def reading(changes: dict[str, str] | None = None, url: str = "file:///srv/store") -> Environment:
        keys = new_keys(tmp_path / "try.key", "try")
        for key in keys.files:
            key.path.touch(0o600)
            key.path.write_text(key.text)
        text = "\n".join(['[environment]\nname = "try"\n[store]', f'url = "{url}"', *keys.settings()])
        text += '\n[databases.shop]\nurl = "postgresql:///shop"\nverify = "0 5 * * 0"\n'
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "try.toml").write_text(text)
        return Repository.find(tmp_path).read("try")

    return reading


def check(environment: Environment) -> Checked:
    return {check.name: result_of(check) for check in checks(environment)}


def test_a_machine_with_all_keys_runs_all_jobs(read: Read) -> None:
    results = check(read())
    assert list(results) == ["signatures", "key store.decrypt_with", "key store.sign_with", "key verify.sign_with"]
    assert {result.verdict for result in results.values()} == {CheckVerdict.OK}


@pytest.mark.parametrize(
    ("file", "name", "cannot"),
    [
        ("try.key", "key store.decrypt_with", "restore, verify and refresh"),
        ("try.signing.key", "key store.sign_with", "back up"),
        ("try.verify.key", "key verify.sign_with", "verify"),
    ],
)
def test_a_key_of_another_machine_is_a_warning_that_names_the_jobs(
    read: Read, tmp_path: Path, file: str, name: str, cannot: str
) -> None:
    environment = read()
    (tmp_path / file).unlink()
    result = check(environment)[name]
    assert result.verdict is CheckVerdict.WARN
    assert result.fact == f"not on this machine, so that it cannot {cannot} (file {tmp_path / file})"


def test_a_machine_without_any_key_is_a_fault(read: Read, tmp_path: Path) -> None:
    environment = read()
    for file in tmp_path.glob("*.key"):
        file.unlink()
    results = check(environment)
    assert {results[name].verdict for name in results if name.startswith("key ")} == {CheckVerdict.FAULT}
    assert results["key store.sign_with"].remedy.startswith("this machine has no key at all")


def test_a_key_that_cannot_be_read_is_a_fault(read: Read, tmp_path: Path) -> None:
    environment = read()
    (tmp_path / "try.signing.key").chmod(0o644)
    (tmp_path / "try.verify.key").write_text("no key")
    results = check(environment)
    assert results["key store.sign_with"].fact.endswith(f"run: chmod 600 {tmp_path}/try.signing.key")
    assert "no private key in OpenSSH's format" in results["key verify.sign_with"].fact
    assert {results[f"key {name}.sign_with"].verdict for name in ("store", "verify")} == {CheckVerdict.FAULT}


def test_a_key_that_trust_does_not_accept_is_a_fault_with_the_line_to_add(read: Read) -> None:
    environment = read({"groundcrew-verification": "groundcrew-manifest"})
    result = check(environment)["key verify.sign_with"]
    assert environment.store
    assert (result.verdict, result.fact) == (CheckVerdict.FAULT, "no key in trust accepts what it signs")
    public = environment.store.trust[1].split()[2]
    assert result.remedy == f"add to trust: 'namespaces=\"groundcrew-verification\" ssh-ed25519 {public}'"


def test_settings_that_name_no_key_are_a_fault(read: Read) -> None:
    result = check(read({"sign_with =": "# "}))["signatures"]
    assert result.verdict is CheckVerdict.FAULT
    assert result.fact == "verifications are scheduled, but [verify] has no sign_with"
    without_trust = {"sign_with =": "# ", "trust = [\n": "", "  '": "# '", "]\n\n[verify]": "\n[verify]"}
    result = check(read(without_trust))["signatures"]
    assert result.verdict is CheckVerdict.FAULT
    assert result.fact == "the file names no key that signs backups (sign_with), and none to trust (trust)"


def test_disabled_signatures_are_a_warning(tmp_path: Path) -> None:
    text = '[environment]\nname = "try"\n[store]\nurl = "file:///s"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
    (tmp_path / "try.toml").write_text(text + '[databases.shop]\nurl = "postgresql:///shop"\n')
    results = check(Repository.find(tmp_path).read("try"))
    assert list(results) == ["signatures"]
    assert results["signatures"].verdict is CheckVerdict.WARN


def test_one_user_that_can_read_all_keys_of_a_bucket_is_a_warning(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = read(url="s3://acme-backups")
    assert check(environment)["signatures"].verdict is CheckVerdict.WARN
    monkeypatch.setenv("INVOCATION_ID", "0123456789abcdef")  # in an exported unit
    assert check(environment)["signatures"].verdict is CheckVerdict.OK
    monkeypatch.delenv("INVOCATION_ID")
    (tmp_path / "try.key").unlink()
    assert check(environment)["signatures"].verdict is CheckVerdict.OK
