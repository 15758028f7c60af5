"""Can what is encrypted here be decrypted here?"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn


def checks(environment: Environment) -> Iterator[Check]:
    """The recipients, and the key that is to fit them."""
    if environment.store is not None:
        recipients, key = environment.store.encrypt_to, environment.store.decrypt_with
        yield Check("encryption", lambda: round_trip(recipients, key))


def round_trip(recipients: tuple[str, ...], key: Secret | None) -> CheckResult:
    """Seal a word to the recipients and open it with the key."""
    from jobs.backup.sets.encryption import fits, seal

    if not recipients:
        nobody = 'encrypt_to = "nobody": whoever reads the store reads the data'
        return warn(nobody, "age-keygen makes a key pair: name its public key there")
    if key is None:
        seal([b"word"], BytesIO(), recipients)
        return ok("encrypts; no decrypt_with, so restores and verifications must run elsewhere")
    if fits(recipients, key.reveal()):
        return ok("what is encrypted to encrypt_to opens with decrypt_with")
    return fault(
        "decrypt_with does not open what is encrypted to encrypt_to",
        "name its public key in encrypt_to (age-keygen -y FILE prints it), or the right key in decrypt_with",
    )
