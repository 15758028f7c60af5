"""The results of verifying a set: an object per result, so that a listing shows the newest one without reading it.

The name of the object has the time and the outcome, the hash of its contents, and a signature of all that. Copying a
bucket changes the modification times of its objects, but not their names. A result never overwrites another one, so a
writer needs no right to replace or delete a key. A result that nobody signed is shown and changes no choice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

RESULTS = "verifications/"

_RESULTS_CHECKED = 100  # of one set: each signature takes time, and somebody can plant thousands
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z")
_RESULT = re.compile(rf"{RESULTS}({_TIME.pattern})-(passed|failed)-[0-9a-f]{{64}}(-[0-9a-f]{{128}})?")


@dataclass(frozen=True, slots=True, order=True)
class VerificationResult:
    """When a set was verified, and whether that failed. Of two results of the same time, the failed one is newer."""

    at: datetime
    failed: bool
    name: str
    """The name of the result in the set, with its signature if it has one."""


def result_name(at: datetime, document: bytes, *, failed: bool) -> str:
    """Return the name of a result in its set, without a signature."""
    outcome = "failed" if failed else "passed"
    return f"{RESULTS}{precise_timestamp(at)}-{outcome}-{hashlib.sha256(document).hexdigest()}"


def results_in(names: Iterable[str], latest: datetime) -> tuple[VerificationResult, ...]:
    """Return the results among the names of a set's keys, newest first, and not more than are checked.

    A result after `latest` has a wrong clock.
    """
    results = [result for name in names if (result := _parse_result(name)) is not None and result.at <= latest]
    return tuple(sorted(results, reverse=True)[:_RESULTS_CHECKED])


def precise_timestamp(at: datetime) -> str:
    """Return a time to the millisecond, as part of a key."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"


def parse_precise_timestamp(text: str) -> datetime | None:
    """Return the time in a part of a key; None if it has none."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _parse_result(name: str) -> VerificationResult | None:
    if not (match := _RESULT.fullmatch(name)) or (at := parse_precise_timestamp(match[1])) is None:
        return None
    return VerificationResult(at, match[2] == "failed", name)
