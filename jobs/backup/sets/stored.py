"""A set as it lies in the store: its manifest, and its parts as streams that are checked as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inventories import Secret
from jobs.backup.errors import BackupError, Damaged, Unreadable, WrongKey
from jobs.backup.sets import manifest
from jobs.backup.sets.encryption import Sink, unseal
from jobs.backup.sets.manifest import Manifest, Part, PartKind
from jobs.backup.sets.sets import Set, prefix
from jobs.store import Missing, Store


@dataclass(frozen=True, slots=True)
class StoredSet:
    """One complete set, and what it takes to read it."""

    manifest: Manifest
    store: Store
    decrypt_with: Secret | None

    @property
    def identity(self) -> str | None:
        """The key that opens the parts; None where they aren't encrypted."""
        if not self.manifest.encrypted:
            return None
        if self.decrypt_with is None:
            raise BackupError(
                f"set {self.manifest.set} is encrypted and {self.manifest.environment}.toml names no key to open it: "
                'decrypt_with = { file = "…" } under [store]'
            )
        return self.decrypt_with.reveal()

    @property
    def archive(self) -> int:
        """The major version of the pg_dump that wrote it."""
        return int(self.manifest.tools["pg_dump"].split(".")[0])

    def parts(self, *kinds: PartKind) -> tuple[Part, ...]:
        """The parts of these kinds, the biggest first."""
        found = (part for part in self.manifest.parts if part.kind in kinds)
        return tuple(sorted(found, key=lambda part: -part.dumped))

    def key(self, name: str) -> str:
        """The key of something in this set."""
        return prefix(self.manifest.environment, self.manifest.database, self.manifest.set) + name


def opened(store: Store, chosen: Set, decrypt_with: Secret | None) -> StoredSet:
    """A set with its manifest read."""
    key = chosen.prefix + manifest.NAME
    return StoredSet(manifest.read(store.get(key).body, key), store, decrypt_with)


def pour(stored: StoredSet, part: Part, sink: Sink, check: Callable[[], None] = lambda: None) -> None:
    """Read a part from the store, decrypted and decompressed, into a sink; Damaged if it is not what was stored.

    When something fails on the way, the rest of the part is read too, so as to tell damage from any other fault.
    """
    identity = stored.identity
    stream = _Stream(stored, part, check)
    try:
        unseal(stream, sink, identity)
    except Damaged:
        raise
    except WrongKey as error:
        of = stored.manifest
        raise BackupError(
            f"{error}: set {of.set} of {of.environment}/{of.database} is encrypted to {', '.join(of.recipients)}; "
            "let decrypt_with name the secret key of one of these"
        ) from None
    except Unreadable:
        stream.raise_if_damaged()
        raise
    except OSError:
        if identity is None:  # age lets no damaged byte through: then whoever broke off had another reason
            stream.raise_if_damaged()
        raise
    stream.raise_if_damaged()


class _Stream:
    """The stored bytes of a part, hashed on their way."""

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
                raise Damaged(self._sentence(f"{piece.key} is gone from the store")) from None

    def raise_if_damaged(self) -> None:
        for _ in self._chunks:
            pass
        if self._sha256.hexdigest() != self._part.sha256:
            raise Damaged(self._sentence(f"its sha256 is {self._sha256.hexdigest()}, not {self._part.sha256}"))

    def _sentence(self, fact: str) -> str:
        of = self._stored.manifest
        return (
            f"part {self._part.name} of set {of.set} of {of.environment}/{of.database} is damaged: {fact}; "
            "restore another set (crew backups list), and find out what changed the store"
        )
