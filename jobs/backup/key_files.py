"""Make the keys of a new environment: one that decrypts backups, one that signs them, one that signs verifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.backup.sets.encryption import new_key_pair
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE, new_signing_key


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The file of a secret key, its public key, and what it is for."""

    path: Path
    text: str = field(repr=False)
    public: str
    purpose: str
    place: str


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The three new key pairs of an environment."""

    decryption: KeyFile
    signing: KeyFile
    verification: KeyFile

    @property
    def files(self) -> tuple[KeyFile, ...]:
        return self.decryption, self.signing, self.verification

    def settings(self, recipients: Sequence[str] = ()) -> list[str]:
        """Return the lines of an environment file about keys: the rest of [store], then [verify]."""
        recipients = [*recipients, self.decryption.public]
        return [
            f"encrypt_to = {json.dumps(recipients)}",
            f"decrypt_with = {_reference(self.decryption)}",
            f"sign_with = {_reference(self.signing)}",
            "trust = [",
            f"  '{self.signing.public}',",
            f"  '{self.verification.public}',",
            "]",
            "",
            "[verify]",
            f"sign_with = {_reference(self.verification)}",
        ]


def _reference(key: KeyFile) -> str:
    return f"{{ file = {json.dumps(str(key.path), ensure_ascii=False)} }}   # {key.purpose}; only {key.place}"


def new_keys(path: Path, environment: str) -> NewKeys:
    """Return new keys: the one that decrypts for this file, the others for files beside it."""
    decryption, signing, verification = key_paths(path)
    secret, public = new_key_pair()
    return NewKeys(
        KeyFile(decryption, secret, public, "decrypts backups", "where you restore and verify"),
        _signing_key(signing, "backups", environment, MANIFEST_NAMESPACE, "where backups are written"),
        _signing_key(verification, "verifications", environment, VERIFICATION_NAMESPACE, "where you verify"),
    )


def key_paths(path: Path) -> tuple[Path, ...]:
    """Return the paths of the three keys: `shop.key`, `shop.signing.key` and `shop.verify.key`."""
    return path, *(path.with_name(f"{path.stem}.{kind}{path.suffix}") for kind in ("signing", "verify"))


def _signing_key(path: Path, signs: str, environment: str, namespace: str, place: str) -> KeyFile:
    """Return a key that signs; its public key is a line of `trust` that allows nothing else."""
    text, public = new_signing_key(f"{signs} of {environment}")
    return KeyFile(path, text, f'namespaces="{namespace}" {public}', f"signs {signs}", place)
