"""Which sets and results an environment trusts, and the keys with which it signs its own.

A listing must show what to trust without reading an object. So the name of an object can end with a signature of all
that comes before, from the name of the environment on: a copy of the object elsewhere is not signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from inventories import BadEnvironment, NoSecret
from jobs.backup.sets.signatures import (
    MANIFEST_NAMESPACE,
    VERIFICATION_NAMESPACE,
    PublicKey,
    SigningKey,
    parse_public_key,
)

if TYPE_CHECKING:
    from inventories import Environment, Secret

UNSIGNED = "it is not signed"
UNKNOWN_SIGNER = "it is not signed by a key in trust"
NOT_ENCRYPTED = "it is not encrypted, although encrypt_to names keys"

_SIGNED_NAME = re.compile(r"(.*)-([0-9a-f]{128})", re.DOTALL)


@dataclass(frozen=True)
class Trust:
    """The keys whose signatures count. Unless `required`, sets and results without a signature count, too."""

    keys: tuple[PublicKey, ...]
    required: bool = True
    encrypted: bool = False
    """Whether sets must be encrypted. Where signatures are required, nobody can exchange a set for one in clear."""
    _checked: dict[tuple[str, ...], str | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fault_of_name(self, key: str, namespace: str, about: str = "") -> str | None:
        """Return why the signature at the end of an object's key does not count; None if it does.

        `about` is the hash of a manifest that was signed along with the key, as in sign_name().
        """
        if not self.required:
            return None
        if (key, namespace, about) not in self._checked:
            self._checked[key, namespace, about] = self._fault_of_name(key, namespace, about)
        return self._checked[key, namespace, about]

    def _fault_of_name(self, key: str, namespace: str, about: str) -> str | None:
        match = _SIGNED_NAME.fullmatch(key)
        if match is None:
            return UNSIGNED
        signed, signature = _signed_text(match[1], about), bytes.fromhex(match[2])
        signers = (each for each in self.keys if each.may_sign(namespace))
        return None if any(each.made(signature, signed, namespace) for each in signers) else UNKNOWN_SIGNER


TRUST_ALL = Trust((), required=False)


def sign_name(key: str, signer: SigningKey | None, namespace: str, about: str = "") -> str:
    """Return the key of an object, followed by a signature of it and of the hash of the manifest that it is about."""
    return f"{key}-{signer.signature(_signed_text(key, about), namespace).hex()}" if signer else key


def _signed_text(key: str, about: str) -> bytes:
    return f"{key}-{about}".encode() if about else key.encode()


def trust_of(environment: Environment) -> Trust:
    """Return what an environment trusts: the keys in `trust`, or else those with which this machine signs."""
    store = environment.store
    if store is None:
        return TRUST_ALL
    if store.signing_disabled:
        return Trust((), required=False, encrypted=bool(store.encrypt_to))
    keys = tuple(map(parse_public_key, store.trust)) or tuple(_own_keys(environment))
    if not keys:
        raise BadEnvironment(
            f"{environment.name}: nothing says which backups to trust; add their public key to its file: [store] "
            'trust = ["ssh-ed25519 …"] (ssh-keygen -y -f FILE prints it), or sign_with = "nobody" to trust all'
        )
    return Trust(keys)


def _own_keys(environment: Environment) -> Iterator[PublicKey]:
    """Yield the public keys of the secret keys that this machine can read, each for its own purpose only."""
    signing_key = environment.store.signing_key if environment.store else None
    purposes = ((signing_key, MANIFEST_NAMESPACE), (environment.verify.sign_with, VERIFICATION_NAMESPACE))
    for secret, namespace in purposes:
        try:
            if secret is not None:
                yield replace(SigningKey(secret.reveal()).public, namespaces=frozenset([namespace]))
        except NoSecret:
            continue


def manifest_signer(environment: Environment) -> SigningKey | None:
    """Return the key that signs the sets of an environment; None if its file disables signatures."""
    store = environment.store
    if store is None or store.signing_disabled:
        return None
    if store.signing_key is None:
        raise BadEnvironment(
            f"{environment.name}: no key signs its backups; make one (ssh-keygen -t ed25519 -N '' -f FILE) and add it "
            'to its file: [store] sign_with = { file = "FILE" }, or sign_with = "nobody" to write unsigned backups'
        )
    return _trusted_signer(environment, store.signing_key, MANIFEST_NAMESPACE, "store.sign_with")


def result_signer(environment: Environment) -> SigningKey | None:
    """Return the key that signs the results of verifications; None if the environment's file disables signatures."""
    store = environment.store
    if store is None or store.signing_disabled:
        return None
    secret = environment.verify.sign_with
    if secret is None:
        raise BadEnvironment(
            f"{environment.name}: no key signs the results of its verifications; make one "
            "(ssh-keygen -t ed25519 -N '' -f FILE) and add it to its file: [verify] sign_with = { file = \"FILE\" }"
        )
    return _trusted_signer(environment, secret, VERIFICATION_NAMESPACE, "verify.sign_with")


def _trusted_signer(environment: Environment, secret: Secret, namespace: str, setting: str) -> SigningKey:
    """Return a key. Raise if the environment does not trust what it signs."""
    signer = SigningKey(secret.reveal())
    if not any(each == signer.public and each.may_sign(namespace) for each in trust_of(environment).keys):
        raise BadEnvironment(
            f"{environment.name}: no key in trust accepts what {setting} signs; add its public key to its file: "
            f"[store] trust = ['namespaces=\"{namespace}\" {signer.public.line}']"
        )
    return signer
