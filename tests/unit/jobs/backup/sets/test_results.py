import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from jobs.backup.sets.results import (
    VerificationResult,
    parse_precise_timestamp,
    precise_timestamp,
    result_name,
    results_in,
)

LATER = datetime(2026, 11, 21, 2, 0, 1, tzinfo=UTC)
AT = datetime(2026, 11, 21, 2, 0, 0, 345_000, tzinfo=UTC)
HASH, SIGNATURE = hashlib.sha256().hexdigest(), "ab" * 64
FAIL = f"verifications/20261121T020000.345Z-failed-{HASH}"
HOLD = f"verifications/20261121T020000.345Z-passed-{HASH}"
LATER_FAIL = f"verifications/20261121T020001.000Z-failed-{HASH}-{SIGNATURE}"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["verified.json", "rest.0", "manifest.json"], []),
        ([HOLD], [VerificationResult(AT, False, HOLD)]),
        ([FAIL, HOLD], [VerificationResult(AT, True, FAIL), VerificationResult(AT, False, HOLD)]),
        ([HOLD, LATER_FAIL], [VerificationResult(LATER, True, LATER_FAIL), VerificationResult(AT, False, HOLD)]),
        ([HOLD, HOLD.replace("2026", "2099")], [VerificationResult(AT, False, HOLD)]),
        ([HOLD.replace("202611", "202613"), "verifications/x-failed", f"{FAIL}/x", f"x/{FAIL}", HOLD[:-1]], []),
        ([HOLD.replace("passed", "unknown"), f"{HOLD}\n", f"{HOLD}-ab"], []),
    ],
)  # fmt: skip
def test_the_results_of_a_set_are_sorted_newest_first(names: list[str], expected: list[VerificationResult]) -> None:
    assert list(results_in(names, AT + timedelta(days=1))) == expected


def test_a_result_has_its_time_its_outcome_and_the_hash_of_its_document_in_its_name() -> None:
    assert result_name(AT, b"", failed=True) == FAIL
    assert result_name(AT, b"", failed=False) == HOLD


@pytest.mark.parametrize(
    "text", ["", "20261121T020000Z", "20261121T250000.000Z", "2026-11-21", "\u0662\u0660261121T020000.000Z"]
)
def test_a_malformed_time_is_none(text: str) -> None:
    assert parse_precise_timestamp(text) is None
    assert parse_precise_timestamp(precise_timestamp(AT)) == AT
