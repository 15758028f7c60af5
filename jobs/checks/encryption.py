"""Check that this machine can decrypt what it encrypts, and the backup sets that it will need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.format import and_more, plural

if TYPE_CHECKING:
    from jobs.backup import Set
    from jobs.store import Store

NAMED = 3


def checks(environment: Environment) -> Iterator[Check]:
    """Yield checks of the recipients, the decryption key, and the keys of stored sets."""
    if environment.store is not None:
        recipients, key = environment.store.encrypt_to, environment.store.decrypt_with
        tables = {**environment.databases, **environment.servers}
        if recipients or tables:
            yield Check("encryption", lambda: round_trip(recipients, key))
        if recipients and key is None and (verified := [name for name, each in tables.items() if each.verify]):
            yield Check("verification", partial(check_verify_without_key, verified))
        if tables or key:
            yield Check("keys of sets", partial(check_keys_of_sets, environment))


def round_trip(recipients: tuple[str, ...], key: Secret | None) -> CheckResult:
    """Encrypt a word to the recipients and decrypt it with the key."""
    from jobs.backup import can_decrypt, encrypt

    if not recipients:
        return warn(
            'backups are not encrypted (encrypt_to = "nobody"): anyone who can read the store can read the data',
            "create a key pair with age-keygen and put the public key into encrypt_to",
        )
    if key is None or not key.exists:
        encrypt([b"word"], BytesIO(), recipients)
        return ok("encryption works; without the key of decrypt_with, this machine cannot restore or verify backups")
    if can_decrypt(recipients, key.reveal()):
        return ok("the decrypt_with key decrypts what is encrypted to encrypt_to")
    return fault(
        "the decrypt_with key does not match any recipient in encrypt_to",
        "add its public key to encrypt_to (age-keygen -y FILE prints it), or correct decrypt_with",
    )


def check_verify_without_key(names: Sequence[str]) -> CheckResult:
    """Return a fault: verifications are scheduled, and no key decrypts what they read."""
    return fault(
        f"`verify` is scheduled for {and_more(names, NAMED)}, but there is no key to decrypt the sets",
        'add decrypt_with = { file = "…" } to [store], or remove the `verify` lines',
    )


def check_keys_of_sets(environment: Environment) -> CheckResult:
    """Check that the newest and the oldest set of each database are encrypted to a key that is still in use."""
    from jobs.backup import MANIFEST, decode_manifest
    from jobs.store import LARGE_DOCUMENT_LIMIT, open_store, require_mark

    assert environment.store is not None
    store, key = open_store(environment.store), environment.store.decrypt_with
    require_mark(store, environment.name)
    key = key if key and key.exists else None
    identity, lost = key.reveal() if key else None, list[str]()
    ends = list(_newest_and_oldest(environment, store))
    for each in ends:
        file = each.prefix + MANIFEST
        manifest = decode_manifest(store.get(file, LARGE_DOCUMENT_LIMIT).body, file)
        if not is_readable(manifest.recipients, environment.store.encrypt_to, identity):
            lost.append(f"{each.database} {each.id}")
    if not lost:
        checked = f"{plural(len(ends), 'set')}: the newest and the oldest of each database"
        return ok(f"the keys in use decrypt the checked sets ({checked})" if ends else "there are no sets yet")
    whose = "the decrypt_with key does not decrypt" if key else "no key in encrypt_to is a recipient of"
    return warn(
        f"{whose} {and_more(lost, NAMED)}", "keep the earlier secret key: without it nobody can restore these sets"
    )


def is_readable(recipients: Sequence[str], encrypt_to: Sequence[str], identity: str | None) -> bool:
    """Whether a set can be decrypted by this machine's key; without a key here, by one of the keys in use."""
    from jobs.backup import can_decrypt

    if not recipients:
        return True
    return can_decrypt(recipients, identity) if identity else not set(recipients).isdisjoint(encrypt_to)


def _newest_and_oldest(environment: Environment, store: Store) -> Iterator[Set]:
    """Yield the newest and the oldest trusted set of each database in the file; of all, if it names no database."""
    from jobs.backup import databases_with_sets, find_sets, is_known

    names_none = not (environment.databases or environment.servers)
    for name in databases_with_sets(environment, store):
        if names_none or is_known(environment, name):
            complete = [each for each in find_sets(store, environment, name) if each.complete]
            ends = (next((each for each in some if not each.untrusted), None) for some in (complete, complete[::-1]))
            yield from dict.fromkeys(each for each in ends if each is not None)
