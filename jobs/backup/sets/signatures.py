"""Sign bytes and check signatures in OpenSSH's format: `ssh-keygen -Y verify` checks them without groundcrew.

PROTOCOL.sshsig of OpenSSH describes the format. Each signature belongs to a namespace, so that a signature made for one
purpose proves nothing for another. Keys are Ed25519 keys: their signatures are short enough for the name of a key in
the store.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MANIFEST_NAMESPACE = "groundcrew-manifest"
VERIFICATION_NAMESPACE = "groundcrew-verification"

_ED25519 = "ssh-ed25519"
_MAGIC = b"SSHSIG"
_VERSION = (1).to_bytes(4, "big")
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_OUR_HASH = b"sha512"
_RAW_KEY_BYTES = 32
_LINE_BYTES = 70
_PUBLIC_KEY = re.compile(rf'(?:namespaces="([^"\s]*)" )?{_ED25519} ([A-Za-z0-9+/]+=*)(?: (.*))?')
_ARMOR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]{1,10000})\n-----END SSH SIGNATURE-----\n?")


class BadSignature(BackupError):
    """A signature is missing or malformed, does not match what it signs, or is from a key that is not trusted."""


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key. `namespaces` limits what it may sign; empty: everything."""

    raw: bytes
    comment: str = field(default="", compare=False)
    namespaces: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def blob(self) -> bytes:
        """The key as OpenSSH encodes it."""
        return _string(_ED25519.encode()) + _string(self.raw)

    @property
    def fingerprint(self) -> str:
        """The fingerprint, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return (
            f"{self.fingerprint} ({self.comment})" if self.comment.isprintable() and self.comment else self.fingerprint
        )

    @property
    def line(self) -> str:
        """The key as one line of a .pub file."""
        return f"{_ED25519} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    def may_sign(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces

    def made(self, signature: bytes, message: bytes, namespace: str, hash_name: bytes = _OUR_HASH) -> bool:
        """Whether this key signed the message for this namespace; `signature` are its 64 bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._ed25519.verify(signature, _signed_bytes(message, namespace, hash_name))
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _ed25519(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw)


class SigningKey:
    """An Ed25519 private key, from the text of its file in OpenSSH's format."""

    def __init__(self, text: str) -> None:
        self._key = _load_private_key(text)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def signature(self, message: bytes, namespace: str) -> bytes:
        """Return the 64 bytes of a signature."""
        return self._key.sign(_signed_bytes(message, namespace, _OUR_HASH))

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Return a signature as `ssh-keygen -Y sign` writes it."""
        fields = (
            self.public.blob,
            namespace.encode(),
            b"",
            _OUR_HASH,
            _signature_blob(self.signature(message, namespace)),
        )
        encoded = base64.b64encode(_MAGIC + _VERSION + b"".join(map(_string, fields))).decode()
        lines = [encoded[start : start + _LINE_BYTES] for start in range(0, len(encoded), _LINE_BYTES)]
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def parse_public_key(line: str) -> PublicKey:
    """Parse a line of a .pub file, or the part of a line in `allowed_signers` from its option `namespaces` on."""
    match = _PUBLIC_KEY.fullmatch(line.strip())
    raw = _raw_key(match[2]) if match else None
    if match is None or raw is None:
        raise BackupError(
            f"trust: {line!r} is not an Ed25519 public key in OpenSSH's format; "
            "ssh-keygen -y -f FILE prints the one of a private key (ssh-ed25519 AAAA…)"
        )
    return PublicKey(raw, match[3] or "", frozenset(match[1].split(",")) if match[1] else frozenset())


def _raw_key(encoded: str) -> bytes | None:
    """Return the 32 bytes of an encoded Ed25519 key; None if it is none."""
    try:
        name, raw = _strings(base64.b64decode(encoded, validate=True))
    except ValueError:
        return None
    return raw if name == _ED25519.encode() and len(raw) == _RAW_KEY_BYTES else None


def verify_signature(message: bytes, armored: bytes, trusted: Iterable[PublicKey], namespace: str) -> PublicKey:
    """Return the trusted key that signed the message; BadSignature if there is none."""
    signer, hash_name, signature = _parse_signature(armored, namespace)
    key = next((key for key in trusted if key == signer and key.may_sign(namespace)), None)
    if key is None:
        raise BadSignature(f"it is signed by {signer}, and no line of trust allows this key to sign {namespace}")
    if not key.made(signature, message, namespace, hash_name):
        raise BadSignature(f"its signature by {key} does not match: it was changed after it was signed")
    return key


def new_signing_key(comment: str = "") -> tuple[str, str]:
    """Return a new key pair, as ssh-keygen writes it: the text of the private key's file, and the public key's line."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    return text, PublicKey(key.public_key().public_bytes_raw(), comment).line


def _load_private_key(text: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(text.strip().encode() + b"\n", password=None)
    except TypeError:
        raise BackupError(
            "the key in sign_with has a passphrase, and scheduled jobs cannot enter one; "
            "remove it (ssh-keygen -p -f FILE) and protect the file by its permissions"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BackupError(f"sign_with contains no private key in OpenSSH's format; {_CREATE_ONE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BackupError(
            f"the key in sign_with is not an Ed25519 key, and groundcrew signs only with these; {_CREATE_ONE}"
        )
    return key


_CREATE_ONE = "create one: ssh-keygen -t ed25519 -N '' -f FILE"


def _signed_bytes(message: bytes, namespace: str, hash_name: bytes) -> bytes:
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + b"".join(map(_string, (namespace.encode(), b"", hash_name, digest)))


def _parse_signature(armored: bytes, namespace: str) -> tuple[PublicKey, bytes, bytes]:
    """Return the key that claims to have signed, the name of the hash, and the 64 bytes of the signature."""
    try:
        public, signed_namespace, _, hash_name, signature = _strings(_dearmored(armored))
        (key_name, raw), (signature_name, signature_bytes) = _strings(public), _strings(signature)
    except ValueError:
        raise BadSignature("its signature is not in OpenSSH's format") from None
    if {key_name, signature_name} != {_ED25519.encode()} or len(raw) != _RAW_KEY_BYTES:
        raise BadSignature("its signature is not by an Ed25519 key; groundcrew accepts only these")
    if signed_namespace != namespace.encode():
        raise BadSignature(f"its signature is not for the namespace {namespace}, but for {signed_namespace!r}")
    if hash_name not in _HASHES:
        raise BadSignature(f"its signature uses the hash {hash_name!r}; OpenSSH knows sha256 and sha512")
    return PublicKey(raw), hash_name, signature_bytes


def _dearmored(armored: bytes) -> bytes:
    """Return what follows the preamble and the version; ValueError if these are wrong."""
    match = _ARMOR.fullmatch(armored.decode().replace("\r\n", "\n"))
    blob = base64.b64decode(match[1].replace("\n", ""), validate=True) if match else b""
    if not blob.startswith(_MAGIC + _VERSION):
        raise ValueError("no signature")
    return blob.removeprefix(_MAGIC + _VERSION)


def _signature_blob(signature: bytes) -> bytes:
    return _string(_ED25519.encode()) + _string(signature)


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _strings(blob: bytes) -> list[bytes]:
    """Return the strings of which an encoded value consists; ValueError if it is cut off."""
    return list(_split_strings(blob))


def _split_strings(blob: bytes) -> Iterator[bytes]:
    while blob:
        size, rest = int.from_bytes(blob[:4], "big"), blob[4:]
        if len(blob) < 4 or len(rest) < size:
            raise ValueError("cut off")
        yield rest[:size]
        blob = rest[size:]
