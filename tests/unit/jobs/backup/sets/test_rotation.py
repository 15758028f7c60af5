"""Signing keys are replaced while both the old and the new one are trusted; a lost key costs no backup."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import BadEnvironment, Repository
from jobs.backup.errors import BackupError
from jobs.backup.sets.choose_set import choose_set
from jobs.backup.sets.sets import find_sets
from jobs.backup.sets.signatures import SigningKey, new_signing_key
from jobs.backup.sets.stored import open_set
from jobs.backup.sets.trust import manifest_signer
from jobs.store import Store
from tests.parts.runs import store_in
from tests.parts.sets import objects
from tests.parts.signed_sets import RECIPIENT, write_set

AT = datetime(2026, 11, 21, 2, tzinfo=UTC)
(OLD, OLD_PUBLIC), (NEW, NEW_PUBLIC) = new_signing_key("old"), new_signing_key("new")

Trusting = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a set of each day, the first signed by the old key, the second by the new one."""
    store = store_in(tmp_path / "store")
    for day, key in enumerate((OLD, NEW)):
        write_set(store, SigningKey(key), AT + timedelta(days=day))
    return store


def staging(folder: Path, *trust: str, signing: str = NEW) -> Repository:
    """Return a repository whose staging signs with a key and trusts some."""
    key = folder / "signing.key"
    key.touch(0o600)
    key.write_text(signing)
    (folder / "staging.toml").write_text(
        f'[environment]\nname = "staging"\n[store]\nurl = "file://{folder}/store"\nencrypt_to = ["{RECIPIENT}"]\n'
        f'sign_with = {{ file = "{key}" }}\ntrust = {json.dumps(trust)}\n'
    )
    return Repository.find(folder)


def trusted_days(store: Store, repository: Repository) -> list[int]:
    sets = find_sets(store, repository.read("staging"), "shop")
    return [each.started.day for each in sets if each.untrusted is None]


def test_during_a_rotation_sets_of_both_keys_are_trusted(store: Store, tmp_path: Path) -> None:
    assert trusted_days(store, staging(tmp_path, OLD_PUBLIC, NEW_PUBLIC)) == [21, 22]
    assert trusted_days(store, staging(tmp_path, NEW_PUBLIC)) == [22]
    assert trusted_days(store, staging(tmp_path, OLD_PUBLIC)) == [21]
    assert trusted_days(store, staging(tmp_path)) == [22], "without trust, the machine's own key counts"


def test_a_key_that_trust_does_not_accept_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadEnvironment, match=r"no key in trust accepts what store\.sign_with signs"):
        manifest_signer(staging(tmp_path, OLD_PUBLIC).read("staging"))
    assert manifest_signer(staging(tmp_path, OLD_PUBLIC, NEW_PUBLIC).read("staging"))


def test_sets_of_a_revoked_key_are_used_only_if_a_person_trusts_them(store: Store, tmp_path: Path) -> None:
    environment = staging(tmp_path, NEW_PUBLIC).read("staging")
    sets = list(find_sets(store, environment, "shop"))
    assert choose_set(sets, "shop").started.day == 22
    [old] = [each for each in sets if each.started.day == 21]
    with pytest.raises(BackupError, match=rf"is not trusted: .* --trust-unsigned {old.id}"):
        open_set(store, old, None)
    assert open_set(store, old, None, trust_unsigned=True).manifest.set == old.id


def test_signed_sets_in_clear_stay_trusted_after_encryption_is_switched_on(tmp_path: Path) -> None:
    store = store_in(tmp_path / "store")
    for key, body in objects(AT, environment="staging", encrypted=False, signer=SigningKey(NEW)).items():
        store.put(key, body)
    assert trusted_days(store, staging(tmp_path, NEW_PUBLIC)) == [21]


def test_a_lost_signing_key_costs_no_backup(store: Store, tmp_path: Path) -> None:
    repository = staging(tmp_path, OLD_PUBLIC)
    (tmp_path / "signing.key").unlink()
    environment = repository.read("staging")
    with pytest.raises(BadEnvironment, match=r"signing\.key cannot be read"):
        manifest_signer(environment)
    chosen = choose_set(find_sets(store, environment, "shop"), "shop")
    assert open_set(store, chosen, None).signer


def test_a_key_of_verifications_alone_makes_no_set_trusted(store: Store, tmp_path: Path) -> None:
    repository = staging(tmp_path)
    file, key = tmp_path / "staging.toml", tmp_path / "signing.key"
    in_store, in_verify = (f'{section}sign_with = {{ file = "{key}" }}\n' for section in ("", "[verify]\n"))
    file.write_text(file.read_text().replace(in_store, "") + in_verify)
    assert trusted_days(store, repository) == []
