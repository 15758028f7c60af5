"""Read a stored set: its manifest, its description, and its parts as streams whose hashes are checked."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import IO

from inventories import Secret, redact
from jobs import log
from jobs.backup.errors import BackupError, Damaged, UnreadableSet, Untrusted, WrongKey
from jobs.backup.sets import passed_files
from jobs.backup.sets.description import Description, decode_description
from jobs.backup.sets.encryption import Sink, decrypt
from jobs.backup.sets.manifest import MANIFEST, Manifest, Part, PartKind, PartPiece, decode_manifest
from jobs.backup.sets.segments import Segment
from jobs.backup.sets.sets import SIGNATURE, Set, set_prefix
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, BadSignature, PublicKey, verify_signature
from jobs.backup.sets.trust import NOT_ENCRYPTED, UNSIGNED
from jobs.backup.sets.writing import FirstHash
from jobs.store import LARGE_DOCUMENT_LIMIT, Expired, Missing, OutOfReach, Store, TooLarge

Check = Callable[[], None]
"""Raises if the run must stop."""

PATIENCE = 15 * 60
"""Seconds for which a restore, a verification or a copy waits for the store. A restore of hours survives an outage."""

LONGEST_PAUSE, STEP = 10, 0.1  # seconds between two requests, and between two checks whether to stop


@dataclass(frozen=True)
class StoredSet:
    """One complete set, with its store and its decryption key."""

    manifest: Manifest
    store: Store
    decrypt_with: Secret | None
    mismatch: str | None = None
    """What the manifest says about its place, if it is not where it lies: the set was copied or renamed."""
    signer: PublicKey | None = None
    """The trusted key that signed the manifest."""
    untrusted: str | None = None
    """Why the set is not trusted."""
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """The manifest and its signature as they are stored, by name."""

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
    def warnings(self) -> list[str]:
        """What to know before the set is used."""
        not_trusted = f"set {self.manifest.set} is not trusted: {self.untrusted}"
        return [not_trusted] if self.untrusted else [self.mismatch] if self.mismatch else []

    @cached_property
    def description(self) -> Description:
        """What the set says about its database, read and decrypted at first use."""
        [part] = self.parts(PartKind.DESCRIPTION)
        return decode_description(read_small_part(self, part), self.key(part.name))

    @property
    def dump_major(self) -> int:
        """The major version of the pg_dump that took the set."""
        return int(self.manifest.tools["pg_dump"].split(".")[0])

    def parts(self, *kinds: PartKind) -> tuple[Part, ...]:
        """Return the parts of these kinds, the biggest first."""
        parts = (part for part in self.manifest.parts if part.kind in kinds)
        return tuple(sorted(parts, key=lambda part: -part.dumped))

    def segment(self, part: Part) -> Segment:
        """Return the table and the columns of a segment."""
        segment = self.description.segments.get(part.name)
        if segment is None:
            raise UnreadableSet(f"the description of set {self.manifest.set} does not describe part {part.name}")
        return segment

    def key(self, name: str) -> str:
        """Return the full key of an object of this set."""
        return set_prefix(self.manifest.environment, self.manifest.database, self.manifest.set) + name


def open_set(store: Store, backup_set: Set, decrypt_with: Secret | None, *, trust_unsigned: bool = False) -> StoredSet:
    """Read the manifest of a set. Raise Untrusted if its signature does not count, unless a person trusts it.

    The place of the set counts, not what the manifest says about it.
    """
    key = backup_set.prefix + MANIFEST
    try:
        body = store.get(key, LARGE_DOCUMENT_LIMIT).body
    except TooLarge as error:
        raise UnreadableSet(str(error)) from None
    vouched = backup_set.signed_manifest
    if vouched is not None and vouched != hashlib.sha256(body).hexdigest() and not trust_unsigned:
        raise _changed(backup_set, "its manifest differs")
    signer, untrusted = None, None
    documents = {MANIFEST: body}
    try:
        if backup_set.trust.required:
            documents[SIGNATURE] = _read_signature(store, backup_set)
            signer = verify_signature(body, documents[SIGNATURE], backup_set.trust.keys, MANIFEST_NAMESPACE)
    except BadSignature as error:
        untrusted = str(error)
    if untrusted is not None and not trust_unsigned:
        raise _not_trusted(backup_set, untrusted)  # before its manifest is parsed: it can be hostile
    written = decode_manifest(body, key)
    manifest = replace(written, environment=backup_set.environment, database=backup_set.database, set=backup_set.id)
    mismatch = place_mismatch(written, manifest)
    untrusted = untrusted or _fault_of_manifest(backup_set, body, written, mismatch)
    if untrusted is not None and not trust_unsigned:
        raise _not_trusted(backup_set, untrusted)
    return StoredSet(manifest, store, decrypt_with, mismatch, None if untrusted else signer, untrusted, documents)


def _not_trusted(backup_set: Set, why: str) -> Untrusted:
    if backup_set.signed_manifest is not None:
        return _changed(backup_set, why)
    return Untrusted(
        f"set {backup_set.id} of {backup_set.environment}/{backup_set.database} is not trusted: {why}. "
        f"If you know who wrote it, name it with --trust-unsigned {backup_set.id}"
    )


def _changed(backup_set: Set, fact: str) -> Untrusted:
    """Return the error for a set whose marker a trusted key signed."""
    return Untrusted(
        f"set {backup_set.id} of {backup_set.environment}/{backup_set.database} was changed after it was signed: "
        f"{fact}. Use another set (crew backups list), and find out what changed the store"
    )


def open_first(store: Store, sets: Iterable[Set], decrypt_with: Secret | None) -> tuple[Set, StoredSet, list[str]]:
    """Open the first set that is whole, and return a warning for each set before it. If none is, raise the first error.

    The name of a set can be trusted while its contents were changed or deleted: only opening it shows that.
    """
    errors: list[UnreadableSet] = []
    for each in sets:
        try:
            stored = open_set(store, each, decrypt_with)
            require_pieces(stored)
        except UnreadableSet as error:
            errors.append(error)
        else:
            return each, stored, [f"set {each.id} is used instead of a newer one: {error}" for error in errors]
    raise errors[0]


def require_pieces(stored: StoredSet) -> None:
    """Raise Damaged if the store lacks a piece of the set, or has one of another size."""
    for part, fault in wrong_pieces(stored):
        raise part_damaged(stored.manifest, part, fault)


def wrong_pieces(stored: StoredSet) -> Iterator[tuple[Part, str]]:
    """Yield which pieces of the set the store lacks, or has in another size."""
    root = stored.key("")
    sizes = {entry.key.removeprefix(root): entry.size for entry in stored.store.list(root)}
    for part in stored.manifest.parts:
        for piece in part.pieces:
            if piece.key not in sizes:
                yield part, f"piece {piece.key} is missing in the store"
            elif sizes[piece.key] != piece.size:
                yield part, _wrong_size(piece, sizes[piece.key])


def read_piece(stored: StoredSet, part: Part, piece: PartPiece, check: Check | None) -> Iterator[bytes]:
    """Yield the bytes of a piece as they are stored; raise Damaged at the end if they are not those of the manifest."""
    sha256 = hashlib.sha256()
    for chunk in read_unhashed(stored, part, piece, check):
        sha256.update(chunk)
        yield chunk
    if (found := sha256.hexdigest()) != piece.sha256:
        raise wrong_hash(stored.manifest, part, piece, found)


def read_unhashed(stored: StoredSet, part: Part, piece: PartPiece, check: Check | None) -> Iterator[bytes]:
    """Yield the bytes of a piece, for a caller that checks its hash; raise Damaged if their number is wrong."""
    size = 0
    try:
        for chunk in _read_patiently(stored.store, stored.key(piece.key), piece.size, check):
            if check is not None:
                check()
            size += len(chunk)
            yield chunk
            if size > piece.size:
                break
    except Missing:
        raise part_damaged(stored.manifest, part, f"piece {piece.key} is missing in the store") from None
    if size != piece.size:
        raise part_damaged(stored.manifest, part, _wrong_size(piece, size))


def _wrong_size(piece: PartPiece, found: int) -> str:
    size = f"only {found} of its" if found < piece.size else "more than"
    return f"piece {piece.key} has {size} {piece.size} bytes"


def _read_patiently(store: Store, key: str, size: int, check: Check | None) -> Iterator[bytes]:
    """Yield the bytes of an object. If the store is out of reach, wait for it, and go on after the last byte.

    `check` raises to end the wait; without it, there is none. An error after the last byte is no outage: the bytes were
    damaged on the way.
    """
    position, failed, gives_up = 0, 0, 0.0
    while True:
        try:
            for chunk in store.read(key, position):
                if failed:
                    log.get().info("store answers again", key=key)
                position, failed = position + len(chunk), 0
                yield chunk
        except (OutOfReach, Expired) as error:
            now = time.monotonic()
            gives_up = gives_up if failed else now + PATIENCE
            if check is None or position >= size or now >= gives_up:
                raise
            if not failed:
                log.get().warning("waiting for the store", why=redact(str(error)))
            failed += 1
            _pause(min(failed, LONGEST_PAUSE), check)
        else:
            return


def _pause(seconds: float, check: Check) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        check()
        time.sleep(STEP)


def wrong_hash(manifest: Manifest, part: Part, piece: PartPiece, found: str) -> Damaged:
    """Return the error for a piece that has another hash than the manifest says."""
    return part_damaged(manifest, part, f"the sha256 of piece {piece.key} is {found}, not {piece.sha256}")


def part_damaged(manifest: Manifest, part: Part, fact: str) -> Damaged:
    """Return the error for a part whose bytes are not those of the manifest."""
    return Damaged(
        f"part {part.name} of set {manifest.set} of {manifest.environment}/{manifest.database} is damaged: "
        f"{fact}; restore another set (crew backups list), and find out what changed the store"
    )


def _fault_of_manifest(backup_set: Set, body: bytes, written: Manifest, mismatch: str | None) -> str | None:
    """Return why a set with a good signature, or with none if none is needed, is not trusted; None if it is."""
    trust, marker = backup_set.trust, backup_set.marker
    if mismatch is not None and trust.required:
        return mismatch
    if (fault := backup_set.untrusted) is not None:
        return fault
    if marker is not None and marker.manifest_sha256 != hashlib.sha256(body).hexdigest():
        return "its manifest is not the one that its run wrote"
    return NOT_ENCRYPTED if trust.encrypted and not written.encrypted else None


def _read_signature(store: Store, backup_set: Set) -> bytes:
    try:
        return store.get(backup_set.prefix + SIGNATURE).body
    except Missing:
        raise BadSignature(UNSIGNED) from None
    except TooLarge as error:
        raise BadSignature(str(error)) from None


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
        raise BackupError(f"{stored.mismatch}; to use it anyway, restore it with --set {stored.manifest.set}")


def read_part(stored: StoredSet, part: Part, sink: Sink, check: Check | None = None) -> None:
    """Write a part, decrypted and decompressed, into a sink; Damaged if its hash is wrong or a piece is missing.

    After any failure the rest of the part is read too, because the hash shows whether damage was the cause.
    """
    identity = stored.identity
    if identity is None and part.kind is PartKind.REST:
        with passed_files.new_file() as definitions:
            [definitions_part] = stored.parts(PartKind.DEFINITIONS)
            read_part(stored, definitions_part, definitions, check)
            definitions.seek(0)
            _read_part(stored, part, _SinkOfRest(sink, definitions), check, identity)
    else:
        _read_part(stored, part, sink, check, identity)


def _read_part(stored: StoredSet, part: Part, sink: Sink, check: Check | None, identity: str | None) -> None:
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


def read_small_part(stored: StoredSet, part: Part) -> bytes:
    """Return the content of a part that is kept in memory: the description or the roles."""
    sink = LimitedSink()
    read_part(stored, part, sink)
    return sink.body.getvalue()


class LimitedSink:
    """A sink in memory. A few bytes can unpack to more than fits there."""

    def __init__(self) -> None:
        self.body = io.BytesIO()

    def write(self, body: bytes) -> None:
        if self.body.tell() + len(body) > LARGE_DOCUMENT_LIMIT:
            raise UnreadableSet(f"it unpacks to more than {LARGE_DOCUMENT_LIMIT >> 20} MiB, too much for this part")
        self.body.write(body)


class _SinkOfRest:
    """A sink that gets no statement of the rest unchecked: the rest of a set begins with its definitions.

    They can be longer than the bytes that first_sha256 covers. Encryption protects a part without this check.
    """

    def __init__(self, sink: Sink, definitions: IO[bytes]) -> None:
        self._sink = sink
        self._definitions = definitions

    def write(self, body: bytes) -> None:
        if not body.startswith(self._definitions.read(len(body))):
            raise UnreadableSet("the rest of the set does not begin with its definitions")
        self._sink.write(body)


class _HashedPart:
    """The stored bytes of a part. Their hashes are checked: of the first bytes before any is used, then per piece."""

    def __init__(self, stored: StoredSet, part: Part, check: Check | None) -> None:
        self._stored = stored
        self._part = part
        self._check = check
        self._chunks = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def raise_if_damaged(self) -> None:
        """Read the rest of the part, and raise Damaged if a hash is wrong."""
        for _ in self._chunks:
            pass

    def _read(self) -> Iterator[bytes]:
        chunks = (
            chunk for piece in self._part.pieces for chunk in read_piece(self._stored, self._part, piece, self._check)
        )
        first: list[bytes] = []
        first_hash = FirstHash()
        while not first_hash.complete and (chunk := next(chunks, b"")):
            first.append(chunk)
            first_hash.update(chunk)
        if first_hash.hexdigest() != self._part.first_sha256:
            raise self._damaged("its first bytes have changed")
        yield from first
        first.clear()
        yield from chunks

    def _damaged(self, fact: str) -> Damaged:
        return part_damaged(self._stored.manifest, self._part, fact)
