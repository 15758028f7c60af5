"""Copy sets from one store to another: piece by piece, several at a time, each hash checked on the way.

A set becomes complete there as in a backup: first its pieces, then its marker, its manifest and its signature. So an
interrupted copy leaves an incomplete set. The next run reads back the pieces that it finds there, because others could
have written them, and copies those that are missing or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from jobs.backup import (
    MANIFEST,
    PIN,
    SIGNATURE,
    BackupError,
    ByteCounter,
    Cancellation,
    Damaged,
    Part,
    PartPiece,
    Set,
    StoredSet,
    lockable_names,
    open_set,
    read_piece,
    read_unhashed,
    run_concurrently,
    wrong_hash,
)
from jobs.copies.plan import is_whole, pieces_to_copy
from jobs.format import format_size
from jobs.log import with_log_context
from jobs.run.job import Run
from jobs.run.stop import Stopped
from jobs.store import Exists, Missing, ObjectLock, Store, WrongHash

STREAMS = 3
"""Pieces that are copied at once. Each needs a buffer of 8 MiB in an S3 store, see jobs/store/s3_upload.py."""

SETS_AT_ONCE = 8
"""Sets that are begun or completed at once. That takes some ten small requests each, and no memory."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """The sets that were copied, the bytes that were sent, and why other sets could not be copied."""

    sets: Sequence[Set]
    bytes: int
    problems: Sequence[str]
    right: Sequence[Set] = ()
    """Sets that were read back, and of which nothing was missing or wrong there."""


def transfer_sets(
    run: Run,
    source: Store,
    target: Store,
    sets: Sequence[Set],
    *,
    whole: bool = False,
    lock: ObjectLock | None = None,
    intact: Collection[str] = (),
) -> Transferred:
    """Copy complete sets; if `whole`, with their pins and the results of their verifications. `lock` them there.

    A set that cannot be copied, most often because a hash is wrong, does not stop the others. `intact` has the prefixes
    of sets that are complete and trusted there and have not failed verification: their pieces are not read back.
    """
    cancellation, sent, present = Cancellation(), ByteCounter(), ByteCounter()
    stored_bytes = sum(each.size for each in sets)

    def report() -> None:
        run.progress("copied", sent.bytes + present.bytes, stored_bytes)

    with ThreadPoolExecutor(STREAMS, thread_name_prefix="copy") as pool:
        copier = _Copier(run, source, target, pool, cancellation, sent, present, whole, lock, intact)
        tasks = {each.prefix: partial(copier.copy, each) for each in sets}
        results = run_concurrently(run, cancellation, tasks, report, SETS_AT_ONCE)
    report()
    copied = [each for each in sets if results[each.prefix] is True]
    right = [each for each in sets if each.prefix in copier.right]
    return Transferred(copied, sent.bytes, [why for why in results.values() if isinstance(why, str)], right)


@dataclass
class _Copier:
    """Copies sets; all share one pool of threads for their pieces."""

    run: Run
    source: Store
    target: Store
    pool: ThreadPoolExecutor
    cancellation: Cancellation
    sent: ByteCounter
    present: ByteCounter
    """The bytes that the target has already."""
    whole: bool
    lock: ObjectLock | None
    intact: Collection[str]
    right: set[str] = field(default_factory=set)
    _failed: set[str] = field(default_factory=set)

    def copy(self, backup_set: Set) -> bool | str:
        """Copy a set; return True, False if it is whole there or was removed meanwhile, or why it cannot be copied."""
        try:
            stored = open_set(self.source, backup_set, None)
            prefix = backup_set.prefix
            there = {entry.key.removeprefix(prefix): entry.size for entry in self.target.list(prefix)}
            seems_whole = not self.whole and is_whole(backup_set, stored.manifest, there)
            checks = backup_set.prefix not in self.intact
            if seems_whole and not checks:
                return False
            copied = self._copy_pieces(backup_set, stored, there, checks=checks)
            self._publish(backup_set, stored, there)
            if seems_whole and not copied:
                self.right.add(backup_set.prefix)
                return False
        except (BackupError, Missing) as error:
            if not any(entry.key.endswith(f"/{MANIFEST}") for entry in self.source.list(backup_set.prefix)):
                self.run.log.info("set not copied, it was removed meanwhile", set=backup_set.id)
                return False
            self.run.log.warning("set not copied", set=backup_set.id, why=str(error))
            return str(error)
        self.run.log.info("set copied", set=backup_set.id, bytes=stored.manifest.stored_bytes)
        return True

    def _copy_pieces(self, backup_set: Set, stored: StoredSet, there: Mapping[str, int], *, checks: bool) -> bool:
        """Copy the missing pieces; with `checks`, also those that are wrong there. Return whether there were any."""
        pieces = list(pieces_to_copy(stored.manifest, {} if checks else there))
        self.present.add(stored.manifest.stored_bytes - sum(piece.size for _, piece in pieces))
        for _, piece in pieces:
            self._require_room(backup_set, piece)
        copy = with_log_context(self._copy_piece)
        futures = [
            self.pool.submit(copy, backup_set, stored, part, piece, is_there=there.get(piece.key) == piece.size)
            for part, piece in pieces
        ]
        ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
        try:
            return sum(future.result() for future in ended) > 0  # not any(): each result can raise
        except BaseException:
            self._failed.add(backup_set.prefix)
            wait(futures)
            raise

    def _copy_piece(self, backup_set: Set, stored: StoredSet, part: Part, piece: PartPiece, *, is_there: bool) -> bool:
        """Copy a piece, unless the right one is there. Return whether it was copied."""
        name, _, number = piece.key.rpartition(".")
        check = partial(self._check, backup_set)
        check()
        if is_there and self._is_right(stored, part, piece, check):
            self.present.add(piece.size)
            return False
        with self.target.upload(backup_set.prefix + name, int(number), lock=self.lock) as upload:
            for chunk in read_unhashed(stored, part, piece, check):
                upload.write(chunk)
                self.sent.add(len(chunk))
            try:
                upload.complete(piece.sha256)
            except WrongHash as error:
                raise wrong_hash(stored.manifest, part, piece, error.found) from None
        return True

    def _is_right(self, stored: StoredSet, part: Part, piece: PartPiece, check: Callable[[], None]) -> bool:
        """Read a piece back from the target, and return whether it is that of the manifest."""
        try:
            for _ in read_piece(replace(stored, store=self.target), part, piece, check):
                pass
        except Damaged:
            self.run.log.warning("wrong piece in the copy", set=stored.manifest.set, piece=piece.key)
            return False
        return True

    def _check(self, backup_set: Set) -> None:
        """Raise if the run must stop, or another piece of the set cannot be copied."""
        self.run.check()
        self.cancellation.check()
        if backup_set.prefix in self._failed:
            raise Stopped("another piece of the set has failed")

    def _require_room(self, backup_set: Set, piece: PartPiece) -> None:
        largest = self.target.largest_piece
        if largest is not None and piece.size > largest:
            raise BackupError(
                f"piece {piece.key} of set {backup_set.id} has {format_size(piece.size)}, but an object in "
                f"{self.target.url} can have {format_size(largest)}; lower max_parts in [store] to that of the copy: "
                "then new sets have smaller pieces"
            )

    def _publish(self, backup_set: Set, stored: StoredSet, there: Collection[str]) -> None:
        """Write what completes a set, in the order of a backup."""
        self._check(backup_set)
        for name, body in self._named_objects(backup_set):
            if not body and name in there:
                continue
            self.target.put(backup_set.prefix + name, body, self.lock if lockable_names([name]) else None)
        documents = dict(stored.documents)
        if SIGNATURE not in documents:  # no signature is required today, but perhaps tomorrow
            with suppress(Missing):
                documents[SIGNATURE] = self.source.get(backup_set.prefix + SIGNATURE).body
        for name, body in documents.items():
            self._create(backup_set.prefix + name, body)

    def _named_objects(self, backup_set: Set) -> Iterator[tuple[str, bytes]]:
        """Yield the objects that are written before the manifest: their names are their content."""
        for tag in backup_set.tags:
            yield f"tags/{tag}", b""
        if self.whole and backup_set.pinned:
            yield PIN, b""
        for result in backup_set.results if self.whole else ():
            yield result.name, self.source.get(backup_set.prefix + result.name).body
        if backup_set.marker is not None:
            yield backup_set.marker.name, b""

    def _create(self, key: str, body: bytes) -> None:
        """Write an object, unless an interrupted copy has written it."""
        try:
            self.target.create(key, body, self.lock)
        except Exists:
            if self.target.get(key, len(body)).body != body:
                raise BackupError(
                    f"{self.target.url}: {key} differs from that in {self.source.url}, so the set cannot be "
                    "completed there; find out who wrote it, and remove it"
                ) from None
