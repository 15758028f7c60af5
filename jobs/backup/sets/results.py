"""The results of verifying a set: a key per result, so that a listing shows the newest one without reading an object.

The name of the key has the time and the outcome: `verifications/20261129T050000.000Z-passed`. Copying a bucket changes
the modification times of its objects, but not their names. A result never overwrites another one, so a writer needs no
right to replace or delete a key. `verified.json` holds the newest result in full.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

VERIFIED = "verified.json"
RESULTS = "verifications/"

_TIME = r"\d{8}T\d{6}\.\d{3}Z"
_RESULT = re.compile(rf"{RESULTS}({_TIME})-(passed|failed)")


@dataclass(frozen=True, slots=True, order=True)
class VerificationResult:
    """When a set was verified, and whether that failed. Of two results of the same time, the failed one is newer."""

    at: datetime
    failed: bool

    @property
    def name(self) -> str:
        """The name of the result's key in the set."""
        return f"{RESULTS}{precise_timestamp(self.at)}-{'failed' if self.failed else 'passed'}"


def newest_result(names: Iterable[str], latest: datetime) -> VerificationResult | None:
    """Return the newest result among the names of a set's keys. A result after `latest` comes from a wrong clock."""
    results = (result for name in names if (result := _parse_result(name)) is not None and result.at <= latest)
    return max(results, default=None)


def precise_timestamp(at: datetime) -> str:
    """Return a time to the millisecond, as part of a key."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"


def parse_precise_timestamp(text: str) -> datetime | None:
    """Return the time in a part of a key; None if it has none."""
    if not re.fullmatch(_TIME, text, re.ASCII):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _parse_result(name: str) -> VerificationResult | None:
    if not (match := _RESULT.fullmatch(name)) or (at := parse_precise_timestamp(match[1])) is None:
        return None
    return VerificationResult(at, match[2] == "failed")
