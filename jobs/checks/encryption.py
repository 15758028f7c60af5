"""Check that this machine can decrypt what it encrypts."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check of the recipients and the decryption key."""
    if environment.store is not None:
        recipients, key = environment.store.encrypt_to, environment.store.decrypt_with
        yield Check("encryption", lambda: round_trip(recipients, key))


def round_trip(recipients: tuple[str, ...], key: Secret | None) -> CheckResult:
    """Encrypt a word to the recipients and decrypt it with the key."""
    from jobs.backup import can_decrypt, encrypt

    if not recipients:
        return warn(
            'backups are not encrypted (encrypt_to = "nobody"): anyone who can read the store can read the data',
            "create a key pair with age-keygen and put the public key into encrypt_to",
        )
    if key is None:
        encrypt([b"word"], BytesIO(), recipients)
        return ok("encryption works; without decrypt_with, this machine cannot restore or verify backups")
    if can_decrypt(recipients, key.reveal()):
        return ok("the decrypt_with key decrypts what is encrypted to encrypt_to")
    return fault(
        "the decrypt_with key does not match any recipient in encrypt_to",
        "add its public key to encrypt_to (age-keygen -y FILE prints it), or correct decrypt_with",
    )
