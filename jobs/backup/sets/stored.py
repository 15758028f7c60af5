"""Read a stored set: its manifest, and its parts as streams whose hashes are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from inventories import Secret
from jobs.backup.errors import BackupError, Damaged, UnreadableSet, WrongKey
from jobs.backup.sets.encryption import Sink, decrypt
from jobs.backup.sets.manifest import MANIFEST, Manifest, Part, PartKind, decode_manifest
from jobs.backup.sets.sets import Set, set_prefix
from jobs.store import Missing, Store


@dataclass(frozen=True, slots=True)
class StoredSet:
    """One complete set, with its store and its decryption key."""

    manifest: Manifest
    store: Store
    decrypt_with: Secret | None
    mismatch: str | None = None
    """What the manifest says about its place, if it is not where it lies: the set was copied or renamed."""

    @property
    def identity(self) -> str | None:
        """The key that decrypts the parts; None if they are not encrypted."""
        if not self.manifest.encrypted:
            return None
        if self.decrypt_with is None:
            raise BackupError(
                f"set {self.manifest.set} is encrypted, and {self.manifest.environment}.toml has no key to decrypt it; "
                'set decrypt_with = { file = "…" } under [store]'
            )
        return self.decrypt_with.reveal()

    @property
    def dump_major(self) -> int:
        """The major version of the pg_dump that took the set."""
        return int(self.manifest.tools["pg_dump"].split(".")[0])

    def parts(self, *kinds: PartKind) -> tuple[Part, ...]:
        """Return the parts of these kinds, the biggest first."""
        parts = (part for part in self.manifest.parts if part.kind in kinds)
        return tuple(sorted(parts, key=lambda part: -part.dumped))

    def key(self, name: str) -> str:
        """Return the full key of an object of this set."""
        return set_prefix(self.manifest.environment, self.manifest.database, self.manifest.set) + name


def open_set(store: Store, backup_set: Set, decrypt_with: Secret | None) -> StoredSet:
    """Read the manifest of a set. The place of the set counts, not what the manifest says about it."""
    key = backup_set.prefix + MANIFEST
    written = decode_manifest(store.get(key).body, key)
    manifest = replace(written, environment=backup_set.environment, database=backup_set.database, set=backup_set.id)
    return StoredSet(manifest, store, decrypt_with, place_mismatch(written, manifest))


def place_mismatch(written: Manifest, found: Manifest) -> str | None:
    """Return how the place that a manifest was written for differs from where it was found."""
    if (written.environment, written.database, written.set) == (found.environment, found.database, found.set):
        return None
    return (
        f"set {found.set} of {found.environment}/{found.database} was copied or renamed: "
        f"its manifest says set {written.set} of {written.environment}/{written.database}"
    )


def require_original_place(stored: StoredSet) -> None:
    """Raise if the set was copied or renamed: it is used only if a person names it."""
    if stored.mismatch is not None:
        raise BackupError(f"{stored.mismatch}; to use it all the same, restore it by --set {stored.manifest.set}")


def read_part(stored: StoredSet, part: Part, sink: Sink, check: Callable[[], None] = lambda: None) -> None:
    """Write a part, decrypted and decompressed, into a sink; Damaged if its hash is wrong or a piece is missing.

    After any failure the rest of the part is read too, because the hash shows whether damage was the cause.
    """
    identity = stored.identity
    stream = _HashedPart(stored, part, check)
    try:
        decrypt(stream, sink, identity)
    except Damaged:
        raise
    except WrongKey as error:
        manifest = stored.manifest
        raise BackupError(
            f"set {manifest.set} of {manifest.environment}/{manifest.database}: {error}. "
            f"The set is encrypted to {', '.join(manifest.recipients)}; use the secret key of one of these"
        ) from None
    except UnreadableSet:
        stream.raise_if_damaged()
        raise
    except OSError:
        if identity is None:  # with age, no damaged byte reaches the sink: the sink failed for another reason
            stream.raise_if_damaged()
        raise
    stream.raise_if_damaged()


class _HashedPart:
    """The stored bytes of a part, hashed as they are read."""

    def __init__(self, stored: StoredSet, part: Part, check: Callable[[], None]) -> None:
        self._stored = stored
        self._part = part
        self._check = check
        self._sha256 = hashlib.sha256()
        self._chunks = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def _read(self) -> Iterator[bytes]:
        for piece in self._part.pieces:
            try:
                for chunk in self._stored.store.read(self._stored.key(piece.key)):
                    self._check()
                    self._sha256.update(chunk)
                    yield chunk
            except Missing:
                raise Damaged(self._damage(f"piece {piece.key} is missing in the store")) from None

    def raise_if_damaged(self) -> None:
        for _ in self._chunks:
            pass
        if self._sha256.hexdigest() != self._part.sha256:
            raise Damaged(self._damage(f"its sha256 is {self._sha256.hexdigest()}, not {self._part.sha256}"))

    def _damage(self, fact: str) -> str:
        manifest = self._stored.manifest
        return (
            f"part {self._part.name} of set {manifest.set} of {manifest.environment}/{manifest.database} is damaged: "
            f"{fact}; restore another set (crew backups list), and find out what changed the store"
        )
