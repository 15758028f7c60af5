"""Whether the decryption key matches the recipients."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage

from inventories import Environment, Repository, Secret
from jobs.backup.sets.manifest import encode_manifest
from jobs.checks import CheckResult, CheckVerdict, ok, run_checks
from jobs.checks.encryption import checks, round_trip
from jobs.store import Store
from tests.parts.sets import put
from tests.parts.store import mark
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


def key_file(folder: Path, name: str) -> tuple[Secret, str]:
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(str(identity))
    path.chmod(0o600)
    return Secret(file=path), str(identity.to_public())


def test_a_round_trip_shows_whether_the_key_matches(tmp_path: Path) -> None:
    (key, public), (other, _) = key_file(tmp_path, "a"), key_file(tmp_path, "b")
    assert round_trip((public,), key).verdict is CheckVerdict.OK
    assert round_trip((public,), other).verdict is CheckVerdict.FAULT
    assert round_trip((public,), None) == ok(
        "encryption works; without the key of decrypt_with, this machine cannot restore or verify backups"
    )
    assert round_trip((public,), Secret(file=tmp_path / "missing")) == round_trip((public,), None)
    assert round_trip((), None).verdict is CheckVerdict.WARN


SHOP = '[databases.shop]\nurl = "postgresql://me@db/shop"\nverify = "0 5 * * 0"\n'


def environment(folder: Path, recipient: str, key: str = "", databases: str = SHOP) -> tuple[Environment, Store]:
    """Return an environment with a database that is verified by schedule, and its store."""
    recipients = '"nobody"' if recipient == "nobody" else f'["{recipient}"]'
    (folder / "try").write_text("servers = []\n")
    (folder / "try.toml").write_text(
        f'[environment]\nname = "try"\n[store]\nurl = "file://{folder}/store"\nencrypt_to = {recipients}\n'
        f'sign_with = "nobody"\n{key}\n{databases}'
    )
    return Repository.find(folder).read("try"), mark(folder / "store", "try")


def add_set(store: Store, at: datetime, recipient: str) -> str:
    set_id = put(store, at, encrypted=True)
    body = encode_manifest(replace(MANIFEST, recipients=(recipient,)))
    store.put(f"try/backups/shop/{set_id}/manifest.json", body)
    return set_id


def results(of: Environment) -> dict[str, CheckResult]:
    return {check.name: result for check, result in run_checks(checks(of))}


def test_a_verification_without_a_key_is_a_fault(tmp_path: Path) -> None:
    secret, public = key_file(tmp_path, "a")
    without, _ = environment(tmp_path, public)
    assert results(without)["verification"].verdict is CheckVerdict.FAULT
    assert "`verify` is scheduled for shop, but there is no key" in results(without)["verification"].fact
    with_key, _ = environment(tmp_path, public, f'decrypt_with = {{ file = "{secret.file}" }}')
    assert "verification" not in results(with_key)


def test_sets_of_a_key_that_nobody_has_are_named(tmp_path: Path) -> None:
    (secret, public), (_, lost) = key_file(tmp_path, "a"), key_file(tmp_path, "b")
    with_key, store = environment(tmp_path, public, f'decrypt_with = {{ file = "{secret.file}" }}')
    assert results(with_key)["keys of sets"] == ok("there are no sets yet")
    add_set(store, NOW, public)
    assert results(with_key)["keys of sets"].verdict is CheckVerdict.OK
    old = add_set(store, NOW - timedelta(days=300), lost)
    sealed = results(with_key)["keys of sets"]
    assert (sealed.verdict, sealed.fact) == (CheckVerdict.WARN, f"the decrypt_with key does not decrypt shop {old}")
    without_key, _ = environment(tmp_path, public)
    assert results(without_key)["keys of sets"].fact == f"no key in encrypt_to is a recipient of shop {old}"


def test_a_file_without_databases_checks_the_keys_of_all_sets_and_no_encryption(tmp_path: Path) -> None:
    (secret, _), (_, lost) = key_file(tmp_path, "a"), key_file(tmp_path, "b")
    without_databases, store = environment(tmp_path, "nobody", f'decrypt_with = {{ file = "{secret.file}" }}', "")
    old = add_set(store, NOW, lost)
    assert set(results(without_databases)) == {"keys of sets"}
    assert results(without_databases)["keys of sets"].fact == f"the decrypt_with key does not decrypt shop {old}"
