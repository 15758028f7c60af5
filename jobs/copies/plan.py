"""Decide which sets and pieces to copy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from inventories import Keep
from jobs.backup import MANIFEST, SIGNATURE, Manifest, Part, PartPiece, Set, is_dated_ahead
from jobs.retention.policy import apply_policy

if TYPE_CHECKING:
    from collections.abc import Sequence


def sets_to_copy(here: Iterable[Set], there: Iterable[Set], keep: Keep, now: datetime) -> Sequence[Set]:
    """Return the sets that a copy lacks, wholly or in part, and that its own rules would keep, newest first.

    They are complete, trusted and have not failed verification. A set that failed its verification in the copy lacks
    something there. What the copy has already fills the periods of its rules, too, so that its retention never removes
    what was just copied.
    """
    copied = {each.id: each for each in there if is_usable(each, now) and not each.has_failed}
    lacking = {
        each.id: each
        for each in here
        if is_usable(each, now) and not each.has_failed and is_lacking(each, copied.get(each.id))
    }
    # Pins and results are not copied, so they must not decide here.
    arriving = [replace(each, pinned=False, results=()) for each in lacking.values() if each.id not in copied]
    decisions = apply_policy([*copied.values(), *arriving], keep, now)
    return [lacking[each.set.id] for each in decisions if each.keep and each.set.id in lacking]


def is_lacking(backup_set: Set, there: Set | None) -> bool:
    """Whether a copy lacks a set, or bytes of it: somebody can have removed or cut off a piece."""
    return there is None or there.size < backup_set.size


def is_whole(backup_set: Set, manifest: Manifest, sizes: Mapping[str, int]) -> bool:
    """Whether a copy has all of a set. A set can look larger in the store, because somebody added objects to it."""
    documents = {MANIFEST, SIGNATURE, *([backup_set.marker.name] if backup_set.marker else [])}
    return documents <= sizes.keys() and not any(pieces_to_copy(manifest, sizes))


def is_usable(backup_set: Set, now: datetime) -> bool:
    """Whether a set is complete, trusted and not dated in the future."""
    return backup_set.complete and not is_dated_ahead(backup_set, now) and backup_set.untrusted is None


def pieces_to_copy(manifest: Manifest, sizes: Mapping[str, int]) -> Iterator[tuple[Part, PartPiece]]:
    """Yield the pieces that a copy lacks; `sizes` are those of the keys that it has."""
    for part in manifest.parts:
        yield from ((part, piece) for piece in part.pieces if sizes.get(piece.key) != piece.size)
